//! An encoding with byte pairs merged: [`Merges`] on top of any other.
//!
//! Music stays in base tokens everywhere but in front of a model: [`Encoding::merge`] makes of a
//! stream what a model sees of it, [`Encoding::expand`] makes base tokens of what it says. So
//! what cuts, transposes and decodes knows nothing of merges. The grammar is over the model's
//! tokens: a merged one may follow where its expansion may.

use std::sync::Arc;

use super::merges::{Merges, Pair};
use super::*;

/// An encoding on top of `base`; see the module.
pub struct Merged {
    base: Box<dyn Encoding>,
    merges: Arc<Merges>,
    tree: Arc<Tree>,
}

impl Merged {
    /// `base` with the merges of `pairs`, the earliest learned first; see [`Merges`] for what they
    /// may be.
    pub fn new(base: Box<dyn Encoding>, pairs: &[Pair]) -> Result<Self, SettingsError> {
        let merges = Merges::new(base.lexicon(), pairs)?;
        Ok(Self {
            base,
            tree: Tree::new(&merges).into(),
            merges: merges.into(),
        })
    }
}

impl Encoding for Merged {
    fn lexicon(&self) -> &Lexicon {
        self.base.lexicon()
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        self.base.encode(score)
    }

    fn decode_bar(&self, tokens: &[Token], bars: &mut Bars) {
        self.base.decode_bar(&self.expand(tokens), bars);
    }

    fn grammar(&self) -> Box<dyn Grammar> {
        Box::new(MergedGrammar {
            base: self.base.grammar(),
            size: self.base.vocabulary_size(),
            merges: self.merges.clone(),
            tree: self.tree.clone(),
        })
    }

    fn head(&self, conditioning: &Conditioning) -> Vec<Token> {
        let head = self.base.head(conditioning).into_iter();
        head.map(|token| self.merges.moved(token)).collect()
    }

    fn alone<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        self.base.alone(tokens)
    }

    fn instruments(&self, body: &Body, tokens: &[Token]) -> InstrumentSet {
        self.base.instruments(body, tokens)
    }

    fn window_bars(&self) -> Option<usize> {
        self.base.window_bars()
    }

    fn length(&self, tokens: &[Token]) -> usize {
        self.base.length(tokens)
    }

    fn arrange(&self, stream: &mut Vec<Token>) {
        self.base.arrange(stream);
    }

    fn bar_by_bar<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        Cow::Owned(self.base.bar_by_bar(&self.expand(tokens)).into_owned())
    }

    fn fill_in(&self, stream: &mut Vec<Token>, hides: &mut dyn FnMut(usize, Instrument) -> bool) {
        self.base.fill_in(stream, hides);
    }

    fn controls(
        &self,
        tokens: &[Token],
        first: BarState,
        semitones: i32,
    ) -> (Option<u16>, controls::Tracks) {
        self.base.controls(tokens, first, semitones)
    }

    fn fills(&self) -> bool {
        self.base.fills()
    }

    fn stands_alone(&self, token: Token) -> bool {
        self.base.stands_alone(token)
    }

    fn endings(&self) -> Vec<Token> {
        self.base.endings()
    }

    fn merges(&self) -> Option<&Merges> {
        Some(&self.merges)
    }

    fn vocabulary_size(&self) -> usize {
        self.merges.vocabulary_size()
    }

    fn kind(&self, token: Token) -> &'static str {
        match self.merges.tokens().contains(&token) {
            true => "merged",
            false => self.base.kind(self.merges.moved_back(token)),
        }
    }

    fn name(&self, token: Token) -> String {
        if !self.merges.tokens().contains(&token) {
            return self.base.name(self.merges.moved_back(token));
        }
        let expansion = self.merges.expansion(&token).iter();
        let names: Vec<String> = expansion.map(|&token| self.base.name(token)).collect();
        names.join(" + ")
    }
}

/// The expansions of all merged tokens as a tree over base tokens; the root comes first.
struct Tree {
    nodes: Vec<Node>,
}

/// What begins with the base tokens on the way to it.
#[derive(Default)]
struct Node {
    /// The merged token whose expansion ends here.
    merged: Option<Token>,
    /// Nodes by the base token that leads to them, ascending.
    next: Vec<(Token, usize)>,
}

impl Tree {
    fn new(merges: &Merges) -> Self {
        let mut nodes = vec![Node::default()];
        for merged in merges.tokens() {
            let mut at = 0;
            for &token in merges.expansion(&merged) {
                let end = nodes.len();
                let next = &mut nodes[at].next;
                match next.binary_search_by_key(&token, |&(token, _)| token) {
                    Ok(found) => at = next[found].1,
                    Err(place) => {
                        next.insert(place, (token, end));
                        nodes.push(Node::default());
                        at = end;
                    }
                }
            }
            nodes[at].merged = Some(merged);
        }
        Self { nodes }
    }
}

/// The grammar of an encoding whose pairs are merged.
struct MergedGrammar {
    base: Box<dyn Grammar>,
    /// Tokens of the base vocabulary.
    size: usize,
    merges: Arc<Merges>,
    tree: Arc<Tree>,
}

impl Grammar for MergedGrammar {
    /// What the base grammar allows, and the merged tokens on the ways through the tree that it
    /// allows.
    fn allowed(&self, next: &mut TokenSet) {
        let nodes = &self.tree.nodes;
        let mut here = TokenSet::new(self.size);
        self.base.allowed(&mut here);
        next.clear();
        here.iter()
            .for_each(|token| next.insert(self.merges.moved(token)));
        let mut open = vec![(&nodes[0], self.base.boxed_clone())];
        while let Some((node, mut grammar)) = open.pop() {
            grammar.allowed(&mut here);
            // The last way on takes the state that the others copy.
            let mut last = None;
            for &(token, node) in node.next.iter().filter(|(token, _)| here.contains(*token)) {
                let node = &nodes[node];
                if let Some(merged) = node.merged {
                    next.insert(merged);
                }
                if !node.next.is_empty()
                    && let Some((token, node)) = last.replace((token, node))
                {
                    let mut grammar = grammar.boxed_clone();
                    grammar.advance(token);
                    open.push((node, grammar));
                }
            }
            if let Some((token, node)) = last {
                grammar.advance(token);
                open.push((node, grammar));
            }
        }
    }

    fn accept(&mut self, token: Token) -> Result<(), DecodeError> {
        if !self.merges.tokens().contains(&token) {
            return self
                .base
                .accept(self.merges.moved_back(token))
                .map_err(|error| DecodeError { token, ..error });
        }
        let mut base = self.base.boxed_clone();
        for &part in self.merges.expansion(&token) {
            base.accept(part)
                .map_err(|error| DecodeError { token, ..error })?;
        }
        self.base = base;
        Ok(())
    }

    fn boxed_clone(&self) -> Box<dyn Grammar> {
        Box::new(Self {
            base: self.base.boxed_clone(),
            size: self.size,
            merges: self.merges.clone(),
            tree: self.tree.clone(),
        })
    }
}
