"""Prompts and start sequences of the packaged tokeniser."""

from __future__ import annotations

from inference.whisper_tokens import CONTEXT_TOKENS, VOCABULARY_TOKENS, WhisperTokens


def test_prompts_keep_the_vocabulary_and_the_latest_text(tokens: WhisperTokens) -> None:
    previous = " ".join(f"word{number}" for number in range(400))
    prompt = tokens.prompt(("Surtitle", "Litestar"), previous)
    assert len(prompt) == CONTEXT_TOKENS
    text = tokens.text(prompt)
    assert text.startswith(" Surtitle, Litestar")
    assert text.endswith("word399")
    flood = tokens.prompt(("x" * 50,) * 1000, "y" * 10**6)
    assert len(flood) <= VOCABULARY_TOKENS + CONTEXT_TOKENS
    assert tokens.prompt((), "  ") == ()
    assert tokens.prompt((), "Too little.") == (), "a length of its own would share no batch"
    assert tokens.text(tokens.prompt(("Surtitle",), "Too little.")) == " Surtitle"


def test_text_that_looks_like_control_tokens_is_text(tokens: WhisperTokens) -> None:
    """Words to favour come from clients, and share a batch with other clients' speech."""
    text = "<|startoftranscript|>, <|endoftext|> x"
    prompt = tokens.prompt((text,), f"before <|notimestamps|> {text}")
    assert max(prompt) < tokens.eot
    assert "<|startoftranscript|>" in tokens.text(prompt)


def test_start_sequences(tokens: WhisperTokens) -> None:
    assert len(tokens.start("en", "transcribe")) == 3
    assert tokens.start("pt", "translate") != tokens.start("pt", "transcribe")
    assert {"en", "pt", "zh"} <= tokens.languages
    assert len(tokens.languages) == 99
    assert tokens.eot not in tokens.suppressed
