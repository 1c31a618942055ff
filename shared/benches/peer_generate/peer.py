"""Tokens drawn by `generate()` of transformers, from a model of random weights."""

import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Starcoder2Config, Starcoder2ForCausalLM


class Clock:
    """A streamer: is given the prompt, then every token as it is drawn."""

    def __init__(self):
        self.times = []

    def put(self, _tokens):
        self.times.append(time.perf_counter())

    def end(self):
        pass


def make(shape):
    common = dict(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["width"],
        intermediate_size=shape["inner"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=shape["context"],
        tie_word_embeddings=shape["tied"],
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    # Both have rotary positions and grouped key/value heads; one gates its feed-forward network.
    if shape["gated"]:
        model = LlamaForCausalLM(LlamaConfig(**common))
    else:
        model = Starcoder2ForCausalLM(Starcoder2Config(**common, hidden_act="gelu", use_bias=False, sliding_window=None))
    return model.eval()


def main():
    shape = json.loads(sys.argv[1])
    torch.manual_seed(1)
    model = make(shape)
    count = shape["tokens"]
    prompt = torch.randint(1, shape["vocabulary"], (1, shape["context"] - count - 1))
    print("ready", flush=True)
    for line in sys.stdin:
        torch.set_num_threads(int(line))
        clock = Clock()
        with torch.inference_mode():
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=count + 1,
                min_new_tokens=count + 1,
                do_sample=True,
                top_k=0,
                top_p=0.97,
                use_cache=True,
                streamer=clock,
            )
        # The first is the prompt's, the second the first token, which the prompt's run gives.
        assert len(clock.times) == count + 2
        print(1e3 * (clock.times[-1] - clock.times[1]) / count, flush=True)


main()
