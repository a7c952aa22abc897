package blocktree.bench;

import java.io.IOException;
import java.nio.file.Path;

/** A directory on which rows run, and the daemon that serves it. All sides of a run lie on the same disk. Not thread-safe. */
interface Side extends AutoCloseable {

    /** Short, for the head of a column. */
    String name();

    /** Where rows make their directories. */
    Path root();

    /** Returns when everything written so far would survive a power loss, as far as this side promises that at all. */
    void sync() throws IOException;

    /** The process that serves the directory; its processor time stands beside each figure. 0 for none. */
    long pid();

    /** Ends the daemon; what it leaves on the disk is removed with the directory of the run. */
    @Override
    void close() throws IOException;
}
