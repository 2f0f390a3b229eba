#include "roofline/base/errors.h"
#include "roofline/text/crate_tokenizer.h"
namespace roofline {
std::unique_ptr<Tokenizer> Tokenizer::from_sentencepiece_file(
    const std::filesystem::path& tokenizer_model) {
  fail<UnsupportedError>(tokenizer_model.string(), "SentencePiece", "");
}
}  // namespace roofline
