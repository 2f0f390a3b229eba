#include "roofline/model/logits.h"

#include <memory>

#include "roofline/base/errors.h"
#include "roofline/cli/adapter_flags.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/options.h"
#include "roofline/cli/output.h"
#include "roofline/cli/slow_start.h"
#include "roofline/cli/thread_notice.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

class Logits : public Command {
 public:
  void declare(App& app) override {
    app.add_option("model", model_, "The model. It needs no tokenizer.")
        ->type_name("MODEL");
    app.add_option(
           "--ids",
           ids_,
           "A JSON list of lists of token ids, all of one length. Required.")
        ->type_name("FILE.json")
        ->group("Files");
    app.add_option(
           "--out",
           out_,
           "Where to write the tensor `logits`, float32 [batch, tokens, "
           "vocab]. Required.")
        ->type_name("FILE.safetensors")
        ->group("Files");
    quant_.declare(app);
    kv_.declare(app);
    adapter_.declare(app);
    device_.declare(app);
    app.footer(
        "Examples\n"
        "    echo '[[1, 2, 3]]' > ids.json\n"
        "    roofline logits path/to/folder --ids ids.json \\\n"
        "        --out logits.safetensors --exact");
  }

  int run() override {
    for (const auto& [value, name] :
         {std::pair{&model_, "MODEL"},
          std::pair{&ids_, "--ids"},
          std::pair{&out_, "--out"}}) {
      if (value->empty()) {
        fail<UserError>(
            std::string(name) + " is missing",
            "",
            "See `roofline logits --help`");
      }
    }
    ModelOptions options = device_.resolve();
    options.quantize = quant_.resolve();
    options.kv = kv_.resolve();
    const std::vector<TokenIds> ids = read_token_ids(ids_);
    const auto checkpoint = Checkpoint::open(resolve_model(model_));
    std::unique_ptr<Decoder> decoder;
    {
      const SlowStart notice;
      decoder = load_with_adapters(*checkpoint, options, adapter_.resolve());
    }
    write_notice(thread_notice(device_.threads, options.device));
    write_logits(*decoder, ids, out_);
    return kSuccess;
  }

 private:
  std::string model_, ids_, out_;
  QuantFlags quant_;
  KvFlags kv_;
  AdapterFlags adapter_;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Command> make_logits() {
  return std::make_unique<Logits>();
}

}  // namespace roofline::cli
