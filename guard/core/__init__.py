"""The pure core: no files, sockets, clocks, threads, logging or randomness. Time is an argument."""
