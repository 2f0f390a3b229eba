// The table of settings: what each is called, takes and does.
#include <type_traits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/option_values.h"
#include "roofline/train/options.h"
#include "roofline/train/setting_rows.h"

namespace roofline {

namespace {

using namespace setting_rows;

constexpr double kMost = 1e9;
constexpr std::string_view kWhat = "Model and data";
constexpr std::string_view kHow = "Method";
constexpr std::string_view kStep = "Steps";
constexpr std::string_view kRate = "Optimizer";
constexpr std::string_view kKeep = "Keeping and watching";

void add_method(std::vector<TrainSetting>& rows) {
  rows.push_back(choice<AdaptMethod>(
      "method",
      kHow,
      "lora, qlora (lora on frozen weights in 4 bits), dora (lora, and the "
      "length of each row), or full.",
      {{"lora", AdaptMethod::lora},
       {"qlora", AdaptMethod::qlora},
       {"dora", AdaptMethod::dora},
       {"full", AdaptMethod::full}},
      [](O & o) -> auto& { return o.method; }));
  rows.push_back(number<int>(
      "rank",
      kHow,
      "Rank of the adapter's matrices.",
      [](O & o) -> auto& { return o.rank; },
      1,
      4096,
      "a whole number from 1 to 4096"));
  rows.push_back(number<float>(
      "alpha",
      kHow,
      "The adapter is scaled by alpha / rank.",
      [](O & o) -> auto& { return o.alpha; },
      0,
      kMost,
      "a number from 0"));
  rows.push_back(number<float>(
      "dropout",
      kHow,
      "Share of the adapter's inputs that are dropped.",
      [](O & o) -> auto& { return o.dropout; },
      0,
      0.99,
      "a share below 1"));
  rows.push_back(
      {"targets",
       "A,B,…",
       kHow,
       "Matrices that get an adapter: q_proj, k_proj, v_proj, o_proj, "
       "gate_proj, up_proj, down_proj; of latent attention q_a_proj, q_b_proj, "
       "kv_a_proj_with_mqa, kv_b_proj.",
       [](O& o, const std::string& text) {
         o.targets = split_list(text, "targets");
       },
       [](const O& o) {
         return fmt::format("{}", fmt::join(o.targets, ","));
       }});
  rows.push_back(number<int>(
      "layers",
      kHow,
      "Train the last N layers; 0: all.",
      [](O & o) -> auto& { return o.layers; },
      0,
      kMost,
      "a whole number from 0"));
  rows.push_back(choice<LossName>(
      "loss",
      kHow,
      "cross_entropy, or dpo or orpo on pairs of answers.",
      {{"cross_entropy", LossName::cross_entropy},
       {"dpo", LossName::dpo},
       {"orpo", LossName::orpo}},
      [](O & o) -> auto& { return o.loss; }));
  rows.push_back(number<double>(
      "beta",
      kHow,
      "How strongly pairs count: dpo's beta, orpo's lambda.",
      [](O & o) -> auto& { return o.beta; },
      0,
      kMost,
      "a number from 0"));
}

void add_teacher(std::vector<TrainSetting>& rows) {
  rows.push_back(words(
      "teacher",
      "MODEL",
      kHow,
      "Distillation: follow what this model of the same vocabulary answers.",
      [](O & o) -> auto& { return o.teacher; }));
  rows.push_back(number<float>(
      "temperature",
      kHow,
      "Distillation: what both models' logits are divided by.",
      [](O & o) -> auto& { return o.temperature; },
      0.01,
      1000,
      "a number from 0.01"));
  rows.push_back(number<float>(
      "teacher-share",
      kHow,
      "Distillation: the divergence's share of the loss; cross entropy is the "
      "rest.",
      [](O & o) -> auto& { return o.teacher_share; },
      0,
      1,
      "a share from 0 to 1"));
}

void add_optimizer(std::vector<TrainSetting>& rows) {
  rows.push_back(
      {"optimizer",
       "NAME",
       kRate,
       "adamw, adam, sgd, lion, adafactor, muon or adamw8.",
       [](O& o, const std::string& text) {
         o.optimizer.name = parse_optimizer(text);
       },
       [](const O& o) {
         return std::string(optimizer_name(o.optimizer.name));
       }});
  const auto real = [&](std::string_view name,
                        std::string_view help,
                        auto field,
                        double most,
                        std::string_view takes) {
    using T = std::remove_reference_t<decltype(field(std::declval<O&>()))>;
    rows.push_back(number<T>(name, kRate, help, field, 0, most, takes));
  };
  real(
      "learning-rate",
      "The learning rate.",
      [](O & o) -> auto& { return o.learning_rate; },
      kMost,
      "a number from 0 to 1000000000");
  rows.push_back(choice<ScheduleName>(
      "schedule",
      kRate,
      "How the rate falls after the warm-up: constant, cosine or linear.",
      {{"constant", ScheduleName::constant},
       {"cosine", ScheduleName::cosine},
       {"linear", ScheduleName::linear}},
      [](O & o) -> auto& { return o.schedule; }));
  rows.push_back(number<int>(
      "warmup",
      kRate,
      "Steps in which the rate rises from 0.",
      [](O & o) -> auto& { return o.warmup; },
      0,
      kMost,
      "a whole number from 0"));
  real(
      "final-rate",
      "Where the schedule ends, as a share of the rate.",
      [](O & o) -> auto& { return o.final_rate; },
      1,
      "a share");
  real(
      "weight-decay",
      "Weight decay.",
      [](O & o) -> auto& { return o.optimizer.weight_decay; },
      kMost,
      "a number from 0");
  real(
      "beta1",
      "Decay of the gradient's mean.",
      [](O & o) -> auto& { return o.optimizer.beta1; },
      0.99999,
      "a share below 1");
  real(
      "beta2",
      "Decay of its square's mean.",
      [](O & o) -> auto& { return o.optimizer.beta2; },
      0.999999,
      "a share below 1");
  real(
      "eps",
      "Added to divisors.",
      [](O & o) -> auto& { return o.optimizer.eps; },
      1,
      "a small number");
  real(
      "momentum",
      "Momentum of sgd.",
      [](O & o) -> auto& { return o.optimizer.momentum; },
      0.9999,
      "a share below 1");
  real(
      "clip",
      "Largest norm of a step's gradient; 0: any.",
      [](O & o) -> auto& { return o.clip; },
      kMost,
      "a number from 0");
}

void add_steps(std::vector<TrainSetting>& rows) {
  const auto whole = [&](std::string_view name,
                         std::string_view help,
                         auto field,
                         double least) {
    rows.push_back(number<int>(
        name,
        kStep,
        help,
        field,
        least,
        kMost,
        least > 0 ? "a whole number from 1" : "a whole number from 0"));
  };
  whole(
      "batch",
      "Samples of a batch.",
      [](O & o) -> auto& { return o.batch; },
      1);
  whole(
      "accumulate",
      "Batches of a step; their gradient is exactly that of one large batch.",
      [](O & o) -> auto& { return o.accumulate; },
      1);
  whole(
      "max-tokens",
      "Tokens of the longest sample.",
      [](O & o) -> auto& { return o.max_tokens; },
      2);
  whole(
      "steps",
      "Steps in all; 0: what the epochs have.",
      [](O & o) -> auto& { return o.steps; },
      0);
  rows.push_back(number<double>(
      "epochs",
      kStep,
      "How often the data are passed.",
      [](O & o) -> auto& { return o.epochs; },
      0,
      kMost,
      "a number above 0"));
  rows.push_back(flag(
      "pack",
      kStep,
      "Fill a batch with short samples up to batch times max-tokens tokens.",
      [](O & o) -> auto& { return o.pack; }));
  rows.push_back(flag(
      "mask-prompt",
      kStep,
      "Learn the assistant's turns and completions only.",
      [](O & o) -> auto& { return o.mask_prompt; }));
  rows.push_back(choice<LongSamples>(
      "long",
      kStep,
      "Longer samples: truncate, or split into samples of their own.",
      {{"truncate", LongSamples::truncate}, {"split", LongSamples::split}},
      [](O & o) -> auto& { return o.long_samples; }));
  rows.push_back(flag(
      "shuffle",
      kStep,
      "A new order every epoch, from the seed.",
      [](O & o) -> auto& { return o.shuffle; }));
  rows.push_back(number<std::uint64_t>(
      "seed",
      kStep,
      "Of the order, the adapter's start and dropout.",
      [](O & o) -> auto& { return o.seed; },
      0,
      1.8e19,
      "a whole number from 0"));
  rows.push_back(flag(
      "checkpoint-layers",
      kStep,
      "Compute layers again instead of keeping what they computed: less "
      "memory, a third more time.",
      [](O & o) -> auto& { return o.checkpoint_layers; }));
  rows.push_back(choice<Precision>(
      "precision",
      kStep,
      "Products with frozen weights: float32, or bf16 where the processor has "
      "instructions for it; on a GPU all between the weights.",
      {{"float32", Precision::float32}, {"bf16", Precision::bf16}},
      [](O & o) -> auto& { return o.precision; }));
  rows.push_back(choice<DeviceChoice>(
      "device",
      kStep,
      "Where steps are computed: auto (a GPU where there is one), cpu or gpu.",
      {{"auto", DeviceChoice::automatic},
       {"cpu", DeviceChoice::cpu},
       {"gpu", DeviceChoice::gpu}},
      [](O & o) -> auto& { return o.device; }));
}

void add_keeping(std::vector<TrainSetting>& rows) {
  const auto every =
      [&](std::string_view name, std::string_view help, auto field) {
        rows.push_back(number<int>(
            name,
            kKeep,
            help,
            field,
            0,
            kMost,
            "a whole number from 0"));
      };
  every(
      "save-every",
      "Steps between checkpoints; 0: at the end only.",
      [](O & o) -> auto& { return o.save_every; });
  every(
      "evaluate-every",
      "Steps between validations; 0: at the end only.",
      [](O & o) -> auto& { return o.evaluate_every; });
  every(
      "report-every",
      "Steps between lines of figures.",
      [](O & o) -> auto& { return o.report_every; });
  rows.push_back(words(
      "tensorboard",
      "FOLDER",
      kKeep,
      "Write event files for TensorBoard there.",
      [](O & o) -> auto& { return o.tensorboard; }));
  rows.push_back(number<double>(
      "diverged",
      kKeep,
      "Stop when the mean loss is so many times the best one; 0: never.",
      [](O & o) -> auto& { return o.diverged; },
      0,
      kMost,
      "a number from 0"));
}

std::vector<TrainSetting> make_settings() {
  std::vector<TrainSetting> rows;
  rows.push_back(words(
      "model",
      "MODEL",
      kWhat,
      "What to train; left out: the bundled model.",
      [](O & o) -> auto& { return o.model; }));
  rows.push_back(words(
      "data",
      "PATH",
      kWhat,
      "A folder with train.jsonl (valid.jsonl, test.jsonl), or a file.",
      [](O & o) -> auto& { return o.data; }));
  rows.push_back(words(
      "output",
      "FOLDER",
      kWhat,
      "Where the adapter and its checkpoints go.",
      [](O & o) -> auto& { return o.output; }));
  add_method(rows);
  add_teacher(rows);
  add_steps(rows);
  add_optimizer(rows);
  add_keeping(rows);
  return rows;
}

}  // namespace

std::span<const TrainSetting> train_settings() {
  static const std::vector<TrainSetting> rows = make_settings();
  return rows;
}

}  // namespace roofline
