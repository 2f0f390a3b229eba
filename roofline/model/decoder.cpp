#include "roofline/model/decoder.h"

#include <algorithm>
#include <limits>

#include "roofline/model/cpu_decoder.h"
#include "roofline/model/device.h"
#include "roofline/model/graph_decoder.h"
#include "roofline/spec/tensor_parts.h"

namespace roofline {

int QuantizeChoice::bits_of(std::string_view name, int layers) const {
  return belongs_to_parts(name, layers, eight_bit) ? 8 : bits;
}

std::unique_ptr<Decoder> Decoder::load(
    const Checkpoint& checkpoint,
    const ModelOptions& options) {
  require_runnable(checkpoint.spec());
  check_kv_format(options.kv, checkpoint.spec());
  if (options.quantize) {
    check_matrix_parts(
        options.quantize->eight_bit,
        static_cast<int>(checkpoint.spec().layers.size()));
  }
  const auto device = prepare_device(options);
  if (device == mx::Device::cpu && !options.graph_on_cpu &&
      !missing_in_cpu_step(checkpoint.spec())) {
    return load_cpu_decoder(checkpoint, options);
  }
  return load_graph_decoder(checkpoint, options, device);
}

std::int64_t Decoder::regime_end(std::int64_t tokens) const {
  auto end = std::numeric_limits<std::int64_t>::max();
  for (const auto& layer : spec().layers) {
    if (!layer.attention || !layer.attention->rope) {
      continue;
    }
    const auto& regimes = layer.attention->rope->regimes;
    for (std::size_t i = 0; i + 1 < regimes.size(); ++i) {
      if (tokens <= regimes[i].max_tokens) {
        end = std::min(end, regimes[i].max_tokens + 1);
        break;
      }
    }
  }
  return end;
}

}  // namespace roofline
