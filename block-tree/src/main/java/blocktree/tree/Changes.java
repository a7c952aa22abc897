package blocktree.tree;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Tells those who keep copies of what a file system shows, such as the kernel behind a mount, what changes in it. A tree and all its views share one; inode numbers are the tree's (see {@link
 * FileSystem#rootNumber}). Thread-safe.
 */
public final class Changes {
    /** Called on the thread that changes something, maybe with the inode's lock held: it must neither wait nor call the file system. What it is told of can be asked for at once: who asks waits for the change. */
    public interface Listener {
        /** Content, size or attributes. */
        void contentChanged(long inode);

        /** Attributes, but not the content. */
        void attributesChanged(long inode);

        /** {@code name} stands for something else in {@code directory}, or for nothing any more, or for something at last. */
        void nameChanged(long directory, Name name);

        /** Content, attributes, and if it is a directory what any of its names stand for: another node has changed it. {@code names} may be asked later, on a thread that may wait. */
        void anythingChanged(long inode, Names names);
    }

    /** What names stand for now. */
    public interface Names {
        /** The number of the inode; 0: the name stands for nothing. */
        long standsFor(long directory, Name name) throws FileSystemException;
    }

    private final List<Listener> listeners = new CopyOnWriteArrayList<>();
    private final boolean shared;

    /** @param shared whether other nodes may change the file system, too */
    Changes(boolean shared) {
        this.shared = shared;
    }

    /** Whether other nodes may change the file system, too. If not, {@link Listener#anythingChanged} is never called. */
    public boolean areShared() {
        return shared;
    }

    public void add(Listener listener) {
        listeners.add(listener);
    }

    public void remove(Listener listener) {
        listeners.remove(listener);
    }

    /** All, in the order in which they were added. */
    public List<Listener> listeners() {
        return listeners;
    }

    void contentChanged(long inode) {
        for (Listener listener : listeners) {
            listener.contentChanged(inode);
        }
    }

    void attributesChanged(long inode) {
        for (Listener listener : listeners) {
            listener.attributesChanged(inode);
        }
    }

    void anythingChanged(long inode, Names names) {
        for (Listener listener : listeners) {
            listener.anythingChanged(inode, names);
        }
    }

    void nameChanged(long directory, Name name) {
        for (Listener listener : listeners) {
            listener.nameChanged(directory, name);
        }
    }
}
