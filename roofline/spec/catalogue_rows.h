// The parts of the catalogue; catalogue.cpp joins them.
#pragma once

#include <span>

#include "roofline/spec/catalogue.h"

namespace roofline {

std::span<const CatalogueEntry> llama_rows();
std::span<const CatalogueEntry> dense_rows();
std::span<const CatalogueEntry> mixed_rows();

}  // namespace roofline
