"""Captions as a viewer gets them: how soon, how steady, how right. See ``__main__``."""
