"""A training step of the same model, in PyTorch as one writes it in Python."""

import math
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

LAYERS, WIDTH, HEADS, VOCABULARY, TIME, BATCH = 4, 256, 4, 794, 512, 8


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed_forward_norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x, cos, sin, mask, fused):
        q, k, v = self.qkv(self.attention_norm(x)).view(BATCH, TIME, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if fused:
            read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
            read = F.softmax(scores.masked_fill(mask, -math.inf), dim=-1) @ v
        x = x + self.out(read.transpose(1, 2).reshape(BATCH, TIME, WIDTH))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))


def rotate(x, cos, sin):
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat((-high, low), -1) * sin


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.final_norm = nn.LayerNorm(WIDTH)
        half = WIDTH // HEADS // 2
        angles = torch.outer(torch.arange(TIME), 10_000 ** (-torch.arange(half) / half))
        self.cos, self.sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        self.mask = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)

    def forward(self, ids, fused):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin, self.mask, fused)
        return self.final_norm(x) @ self.embedding.weight.T


def train_step(model, optimizer, tokens, fused):
    optimizer.zero_grad(set_to_none=True)
    logits = model(tokens[:, :-1], fused)
    loss = F.cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def main():
    torch.set_num_threads(2)
    model = Model()
    numbers = open(sys.argv[1], "rb").read()
    begin = 0
    for weight in model.parameters():
        size = weight.numel()
        given = torch.frombuffer(bytearray(numbers[begin : begin + 4 * size]), dtype=torch.float32)
        weight.data.copy_(given.view_as(weight))
        begin += 4 * size
    count = BATCH * (TIME + 1)
    assert len(numbers) == begin + 4 * count
    tokens = torch.tensor(struct.unpack(f"<{count}i", numbers[begin:])).view(BATCH, TIME + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        loss = train_step(model, optimizer, tokens, line.strip() == "fused")
        print(loss if line.strip() == "loss" else time.perf_counter() - start, flush=True)


main()
