"""Many speakers at once, over real sockets: what holds, and what gives way. See ``__main__``."""
