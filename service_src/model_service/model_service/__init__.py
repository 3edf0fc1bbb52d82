"""model-service: an OpenAI-compatible API over llama.cpp with continuous batching."""

SERVICE = "model-service"
VERSION = "0.1.0"
