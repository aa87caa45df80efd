"""Does this machine train, extract and translate as it should? One check per file, and a page about what was found."""
