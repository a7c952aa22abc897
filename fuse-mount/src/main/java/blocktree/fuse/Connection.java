package blocktree.fuse;

import java.nio.file.Path;

/** A mount's session with the kernel, through one of the libraries. */
interface Connection {
    /**
     * Mounts; requests are answered once {@link #newThread} threads run.
     *
     * @return whether kernel and library have agreed already; else that is the first request
     */
    boolean open(MountPoint mountPoint, MountOptions options) throws MountException;

    RequestThread newThread(RequestLoop loop, String name);

    /** Answers request {@code unique} with an error, from any thread. The kernel takes the first answer and ignores a later one. */
    void refuse(long unique, int errno);

    MountOperations operations();

    /** Has the kernel hand over what it keeps back of writes, for at most some seconds. */
    void writeBack(Path mountPoint);

    /** On the last thread, when all have ended: frees what the library holds and closes /dev/fuse. Unmounts nothing. */
    void close();
}
