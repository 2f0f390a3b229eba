//! Tokenizers: from a tokenizer.json, or from a vocabulary given as arrays.

use crate::border::{guard, reading, Buffer, Failure, Ids, Outcome, View};
use ahash::AHashMap;
use std::slice;
use std::str::FromStr;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::{
    AddedToken, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, TokenizerImpl,
};

type Inner = TokenizerImpl<
    ModelWrapper,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// The opaque handle of C++.
pub struct Tokenizer {
    inner: Inner,
    /// One more than the highest id.
    size: u32,
    space_in_front: bool,
}

impl Tokenizer {
    fn encode(&self, text: &str, add_special: bool) -> Outcome<Ids> {
        let opens_special = || {
            let added = self.inner.get_added_vocabulary();
            let tokens = added.get_added_tokens_decoder().values();
            tokens
                .filter(|token| token.special)
                .any(|token| text.starts_with(&token.content))
        };
        let spaced = self.space_in_front && !text.is_empty() && !opens_special();
        let encoding = if spaced {
            self.inner.encode_fast(format!(" {text}"), add_special)
        } else {
            self.inner.encode_fast(text, add_special)
        };
        encoding
            .map(|encoding| Ids::from_slice(encoding.get_ids()))
            .map_err(Failure::broken)
    }
}

/// `count` strings packed in one text: string i ends at `ends[i]` and starts
/// where the one before it ends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Strings {
    text: View,
    ends: *const u64,
    count: usize,
}

impl Strings {
    unsafe fn collect<'a>(self) -> Outcome<Vec<&'a str>> {
        let text = self.text.text()?;
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let mut start = 0;
        slice::from_raw_parts(self.ends, self.count)
            .iter()
            .map(|&end| {
                let part = text
                    .get(start..end as usize)
                    .ok_or_else(|| Failure::broken("a string of the vocabulary is not UTF-8"));
                start = end as usize;
                part
            })
            .collect()
    }
}

/// `rb_parts` of the header.
#[repr(C)]
pub struct Parts {
    kind: i32,
    tokens: Strings,
    scores: *const f32,
    added: *const u8,
    merges: Strings,
    unknown: i64,
    byte_fallback: i32,
    ignore_merges: i32,
    space_in_front: i32,
    normalizer: View,
    pre_tokenizer: View,
}

const BPE_MERGES: i32 = 0;
const BPE_SCORES: i32 = 1;
const UNIGRAM: i32 = 2;

const ADDED: u8 = 1;
const SPECIAL: u8 = 2;
const EATS_SPACES: u8 = 4;

fn vocabulary(tokens: &[&str]) -> AHashMap<String, u32> {
    let mut vocab = AHashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        // Of two tokens with one text the later is the one that counts.
        vocab.insert(token.to_string(), id as u32);
    }
    vocab
}

/// The crate checks that both sides are tokens.
fn split_merges(merges: &[&str]) -> Outcome<Vec<(String, String)>> {
    let mut pairs = Vec::with_capacity(merges.len());
    for (rank, merge) in merges.iter().enumerate() {
        // The left side may itself begin with a space.
        let border = merge
            .char_indices()
            .skip(1)
            .find(|&(_, letter)| letter == ' ')
            .ok_or_else(|| Failure::broken(format!("merge {rank} (\"{merge}\") is not a pair")))?
            .0;
        let (left, right) = (&merge[..border], &merge[border + 1..]);
        pairs.push((left.to_string(), right.to_string()));
    }
    Ok(pairs)
}

/// The merges of a SentencePiece BPE model: every way to cut a token in two
/// others, the best score first, then the order that `transformers` gives ties.
fn merges_from_scores(
    tokens: &[&str],
    scores: &[f32],
    mergeable: impl Fn(usize) -> bool,
    vocab: &AHashMap<String, u32>,
) -> Vec<(String, String)> {
    struct Cut {
        whole: u32,
        border: u32,
    }
    let mut cuts = Vec::with_capacity(2 * tokens.len());
    for (id, token) in tokens.iter().enumerate().filter(|&(id, _)| mergeable(id)) {
        let first = cuts.len();
        for (border, _) in token.char_indices().skip(1) {
            if vocab.contains_key(&token[..border]) && vocab.contains_key(&token[border..]) {
                cuts.push(Cut {
                    whole: id as u32,
                    border: border as u32,
                });
            }
        }
        cuts[first..].sort_by_key(|cut| {
            let (left, right) = token.split_at(cut.border as usize);
            (vocab[left], vocab[right])
        });
    }
    let lengths = |cut: &Cut| {
        let (left, right) = tokens[cut.whole as usize].split_at(cut.border as usize);
        (left.chars().count(), right.chars().count())
    };
    cuts.sort_by(|a, b| {
        let by_score = scores[b.whole as usize].total_cmp(&scores[a.whole as usize]);
        by_score.then_with(|| lengths(b).cmp(&lengths(a)))
    });
    cuts.into_iter()
        .map(|cut| {
            let (left, right) = tokens[cut.whole as usize].split_at(cut.border as usize);
            (left.to_string(), right.to_string())
        })
        .collect()
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Outcome<Option<T>> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(json)
        .map(Some)
        .map_err(Failure::broken)
}

unsafe fn array<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if data.is_null() {
        return &[];
    }
    slice::from_raw_parts(data, count)
}

unsafe fn build_model(parts: &Parts, tokens: &[&str], added: &[u8]) -> Outcome<ModelWrapper> {
    let scores = array(parts.scores, tokens.len());
    let unknown = usize::try_from(parts.unknown)
        .ok()
        .filter(|&id| id < tokens.len());
    if parts.kind == UNIGRAM {
        let pieces = tokens
            .iter()
            .zip(scores)
            .map(|(token, &score)| (token.to_string(), score as f64))
            .collect();
        return Unigram::from(pieces, unknown, parts.byte_fallback != 0)
            .map(ModelWrapper::Unigram)
            .map_err(Failure::broken);
    }
    let vocab = vocabulary(tokens);
    let merges = match parts.kind {
        BPE_MERGES => split_merges(&parts.merges.collect()?)?,
        BPE_SCORES if scores.len() == tokens.len() => {
            let mergeable = |id: usize| added.get(id).is_none_or(|&kind| kind == 0);
            merges_from_scores(tokens, scores, mergeable, &vocab)
        }
        BPE_SCORES => return Err(Failure::broken("the vocabulary has no scores")),
        kind => return Err(Failure::broken(format!("unknown model kind {kind}"))),
    };
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .byte_fallback(parts.byte_fallback != 0)
        .fuse_unk(parts.kind == BPE_SCORES)
        .ignore_merges(parts.ignore_merges != 0);
    if let Some(id) = unknown {
        builder = builder.unk_token(tokens[id].to_string());
    }
    reading(|| builder.build())?
        .map(ModelWrapper::BPE)
        .map_err(Failure::broken)
}

unsafe fn from_parts(parts: &Parts) -> Outcome<Tokenizer> {
    let tokens = parts.tokens.collect()?;
    let added = array(parts.added, tokens.len());
    let model = build_model(parts, &tokens, added)?;
    let mut inner = Inner::new(model);
    inner
        .with_normalizer(parse::<NormalizerWrapper>(parts.normalizer.text()?)?)
        .map_err(Failure::broken)?;
    inner.with_pre_tokenizer(parse::<PreTokenizerWrapper>(parts.pre_tokenizer.text()?)?);
    let matched = added.iter().enumerate().filter(|&(_, &kind)| kind != 0);
    inner
        .add_tokens(matched.map(|(id, &kind)| {
            AddedToken::from(tokens[id], kind & SPECIAL != 0)
                .normalized(false)
                .rstrip(kind & EATS_SPACES != 0)
        }))
        .map_err(Failure::broken)?;
    Ok(Tokenizer {
        inner,
        size: tokens.len() as u32,
        space_in_front: parts.space_in_front != 0,
    })
}

fn from_json(json: &str) -> Outcome<Tokenizer> {
    // The crate's own messages don't tell broken JSON from a missing part.
    serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(Failure::broken)?;
    let inner = reading(|| tokenizers::Tokenizer::from_str(json))?
        .map_err(Failure::broken)?
        .into_inner();
    let model = inner.get_model();
    let last_of_model = model.get_vocab_size() as u32;
    let size = inner
        .get_added_tokens_decoder()
        .keys()
        .map(|id| id + 1)
        .max()
        .unwrap_or(0)
        .max(last_of_model);
    Ok(Tokenizer {
        inner,
        size,
        space_in_front: false,
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_from_json(
    json: View,
    out: *mut *mut Tokenizer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        out.write(Box::into_raw(Box::new(from_json(json.text()?)?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_from_parts(
    parts: *const Parts,
    out: *mut *mut Tokenizer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        out.write(Box::into_raw(Box::new(from_parts(&*parts)?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        guard(std::ptr::null_mut(), || {
            drop(Box::from_raw(tokenizer));
            Ok(())
        });
    }
}

#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: View,
    add_special: i32,
    out: *mut Ids,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        out.write((*tokenizer).encode(text.text()?, add_special != 0)?);
        Ok(())
    })
}

/// Ids to text through the crate's own decoder.
#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    count: usize,
    skip_special: i32,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let text = (*tokenizer)
            .inner
            .decode(array(ids, count), skip_special != 0)
            .map_err(Failure::broken)?;
        out.write(Buffer::from_text(text));
        Ok(())
    })
}

/// Writes the token's text as the decoder sees it, and flags (ADDED, SPECIAL)
/// or -1 when there is no such id.
#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_token(
    tokenizer: *const Tokenizer,
    id: u32,
    flags: *mut i32,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let inner = &(*tokenizer).inner;
        let added = inner.get_added_vocabulary();
        let (text, kind) = match added.get_added_tokens_decoder().get(&id) {
            Some(token) if token.special => {
                (added.simple_id_to_token(id), (ADDED | SPECIAL) as i32)
            }
            Some(_) => (added.simple_id_to_token(id), ADDED as i32),
            None => (inner.get_model().id_to_token(id), 0),
        };
        flags.write(if text.is_some() { kind } else { -1 });
        out.write(Buffer::from_text(text.unwrap_or_default()));
        Ok(())
    })
}

/// The id of a token by its exact text, or -1.
#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_token_id(
    tokenizer: *const Tokenizer,
    token: View,
    out: *mut i64,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let id = (*tokenizer).inner.token_to_id(token.text()?);
        out.write(id.map_or(-1, i64::from));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_size(tokenizer: *const Tokenizer) -> u32 {
    (*tokenizer).size
}

/// The decoder's part of the tokenizer.json ("null" when there is none).
#[no_mangle]
pub unsafe extern "C" fn rb_tokenizer_decoder(
    tokenizer: *const Tokenizer,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let json =
            serde_json::to_string(&(*tokenizer).inner.get_decoder()).map_err(Failure::broken)?;
        out.write(Buffer::from_text(json));
        Ok(())
    })
}
