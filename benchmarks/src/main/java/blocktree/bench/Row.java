package blocktree.bench;

import java.io.IOException;

/** A workload. It is prepared, then run under the clock, in a fresh directory that is removed afterwards. */
interface Row {

    /** Stable, for {@code --rows}. */
    String id();

    /** What is done under the clock, for the reader of the table. */
    String description();

    Unit unit();

    /** How many times as good as gocryptfs it is to be. */
    double goal();

    /** Bytes or operations of one run. */
    long work(Scale scale);

    /** Whether it starts with the kernel's caches empty; a daemon's own are small beside the file. Needs root. */
    default boolean isCold() {
        return false;
    }

    /** Makes what {@link #run} needs. */
    default void prepare(Workspace workspace) throws IOException {}

    void run(Workspace workspace) throws IOException;
}
