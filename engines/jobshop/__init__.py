"""The interrupting job shop with blocking and swaps: a simulator, and what decides in it."""
