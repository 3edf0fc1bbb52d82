"""The engine over llama.cpp's C API, as llama-cpp-python exposes it."""
