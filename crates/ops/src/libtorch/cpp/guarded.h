// From exceptions to messages, which C can return.

#pragma once

#include <c10/core/GradMode.h>

#include <cstring>
#include <exception>

namespace spanwise {

// Runs body, which records no gradients, and returns what it throws as a message for the caller to
// free, else nullptr.
template <typename Body>
const char* guarded(Body body) {
  try {
    c10::NoGradGuard no_grad;
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

}  // namespace spanwise
