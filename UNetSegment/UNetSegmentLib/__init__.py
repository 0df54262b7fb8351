"""The parts of the UNetSegment module; nothing here imports torch."""
