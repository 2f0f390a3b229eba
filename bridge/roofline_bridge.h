/* Crates for text (tokenizers, minijinja), images (resvg) and event files
 * (tboard) behind plain C: handles, views of the caller's bytes, and buffers
 * that the bridge owns until they are given back. Every call that can fail returns an rb_status and,
 * unless it is RB_OK, fills `error` with a message. A panic in Rust becomes
 * RB_PANICKED. Handles may be used from several threads at once. */
#ifndef ROOFLINE_BRIDGE_H
#define ROOFLINE_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rb_tokenizer rb_tokenizer;
typedef struct rb_template rb_template;
typedef struct rb_events rb_events;

enum rb_status {
  RB_OK = 0,
  RB_BROKEN = 1,   /* the data can't be read: a broken tokenizer or template */
  RB_REFUSED = 3,  /* a template called raise_exception; a disk is full */
  RB_PANICKED = 4, /* a fault of the bridge or its crates */
};

/* Bytes of the caller; they need to live only during the call. */
typedef struct rb_view {
  const char* data;
  size_t size;
} rb_view;

/* Bytes of the bridge, not terminated; give them back with rb_buffer_free. */
typedef struct rb_buffer {
  char* data;
  size_t size;
} rb_buffer;

/* Ids of the bridge; give them back with rb_ids_free. */
typedef struct rb_ids {
  uint32_t* data;
  size_t size;
} rb_ids;

/* `count` strings joined in one text; string i ends at byte ends[i] and starts
 * where the one before it ends. */
typedef struct rb_strings {
  rb_view text;
  const uint64_t* ends;
  size_t count;
} rb_strings;

enum rb_model_kind {
  RB_BPE_MERGES = 0, /* ranks are the order of `merges` */
  RB_BPE_SCORES = 1, /* SentencePiece BPE: merges follow from `scores` */
  RB_UNIGRAM = 2,    /* SentencePiece unigram over `scores` */
};

enum rb_token_flag {
  RB_TOKEN_ADDED = 1,       /* found in the text before the model sees it */
  RB_TOKEN_SPECIAL = 2,     /* left out when decoding */
  RB_TOKEN_EATS_SPACES = 4, /* takes the white space after it along */
};

/* A vocabulary as arrays. normalizer and pre_tokenizer are JSON as in a
 * tokenizer.json, or empty. */
typedef struct rb_parts {
  int32_t kind;
  rb_strings tokens;
  const float* scores;  /* one a token, or NULL */
  const uint8_t* added; /* rb_token_flag of each token, or NULL */
  rb_strings merges;    /* "left right" */
  int64_t unknown;      /* id of the unknown token, or -1 */
  int32_t byte_fallback;
  int32_t ignore_merges;
  /* one space goes before a text that begins with no special token */
  int32_t space_in_front;
  rb_view normalizer;
  rb_view pre_tokenizer;
} rb_parts;

void rb_buffer_free(rb_buffer buffer);
void rb_ids_free(rb_ids ids);
/* Always RB_PANICKED: for the test of the border. */
int32_t rb_panic_probe(rb_buffer* error);

int32_t rb_tokenizer_from_json(
    rb_view json,
    rb_tokenizer** out,
    rb_buffer* error);
int32_t rb_tokenizer_from_parts(
    const rb_parts* parts,
    rb_tokenizer** out,
    rb_buffer* error);
void rb_tokenizer_free(rb_tokenizer* tokenizer);

/* Text to ids; add_special runs the tokenizer.json's post-processor. */
int32_t rb_tokenizer_encode(
    const rb_tokenizer* tokenizer,
    rb_view text,
    int32_t add_special,
    rb_ids* out,
    rb_buffer* error);
/* Ids to text through the crate's decoder. */
int32_t rb_tokenizer_decode(
    const rb_tokenizer* tokenizer,
    const uint32_t* ids,
    size_t count,
    int32_t skip_special,
    rb_buffer* out,
    rb_buffer* error);
/* The token's text as the decoder sees it. flags: rb_token_flag, or -1 when
 * there is no such id. */
int32_t rb_tokenizer_token(
    const rb_tokenizer* tokenizer,
    uint32_t id,
    int32_t* flags,
    rb_buffer* out,
    rb_buffer* error);
/* The id of a token by its exact text, or -1. */
int32_t rb_tokenizer_token_id(
    const rb_tokenizer* tokenizer,
    rb_view token,
    int64_t* out,
    rb_buffer* error);
/* One more than the highest id. */
uint32_t rb_tokenizer_size(const rb_tokenizer* tokenizer);
/* The decoder's part of the tokenizer.json; "null" when there is none. */
int32_t rb_tokenizer_decoder(
    const rb_tokenizer* tokenizer,
    rb_buffer* out,
    rb_buffer* error);

/* Compiles a chat template; a fault in it is RB_BROKEN with its line. */
int32_t rb_template_compile(
    rb_view source,
    rb_template** out,
    rb_buffer* error);
void rb_template_free(rb_template* compiled);
/* Renders with the variables of a JSON object, in its order. */
int32_t rb_template_render(
    const rb_template* compiled,
    rb_view variables,
    rb_buffer* out,
    rb_buffer* error);

/* The SVG document as PNG bytes, `scale` pixels for each of its units. Text is
 * drawn in the one font that comes along (DejaVu Sans: Latin, Greek). */
int32_t rb_png_from_svg(
    rb_view svg,
    float scale,
    rb_buffer* out,
    rb_buffer* error);

/* A new event file of TensorBoard's in the folder, which is made if missing.
 * What older files there say about first_step and later no longer counts. */
int32_t rb_events_create(
    rb_view folder,
    int64_t first_step,
    rb_events** out,
    rb_buffer* error);
/* Appends a scalar; it is in the file (not durably) at return. Not from two
 * threads at once. */
int32_t rb_events_add(
    rb_events* events,
    int64_t step,
    rb_view tag,
    float value,
    rb_buffer* error);
void rb_events_free(rb_events* events);

#ifdef __cplusplus
}
#endif

#endif
