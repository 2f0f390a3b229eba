// Parts of a config.json that say what a model is: its mixture of experts, its
// recurrent layers, its latent attention, the scaling of its positions. Each
// adds its fields to `out`, or nothing where the model has no such part.
#pragma once

#include <nlohmann/json.hpp>

#include "roofline/spec/families.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

/// Throws UnsupportedError for experts in a family without any.
void write_config_mixture(
    const ModelSpec& spec,
    const Family& family,
    nlohmann::json& out);

void write_config_recurrent(
    const ModelSpec& spec,
    const Family& family,
    nlohmann::json& out);

/// Falcon-H1's factors in a model that has them in its weights.
nlohmann::json neutral_factors();

void write_config_latent(
    const ModelSpec& spec,
    const Family& family,
    nlohmann::json& out);

/// What some families add to every layer, and heads of two sizes. To be called
/// after what else writes sizes.
void write_config_extras(
    const ModelSpec& spec,
    const Family& family,
    nlohmann::json& out);

/// gguf: the metadata of the file that the rope was read from.
void write_config_scaling(
    const RopeSpec& rope,
    const nlohmann::json& gguf,
    const Family& family,
    nlohmann::json& out);

}  // namespace roofline
