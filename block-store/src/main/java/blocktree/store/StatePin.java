package blocktree.store;

/**
 * One state of the tree that stays readable on this node until this is closed, whatever is committed and collected meanwhile. Nothing of it is
 * stored: other nodes do not know of it, and it ends with the store. Thread-safe.
 */
public final class StatePin implements AutoCloseable {

    private final Upkeep upkeep;
    private final StateRoot root;

    StatePin(Upkeep upkeep, StateRoot root) {
        this.upkeep = upkeep;
        this.root = root;
    }

    StateRoot root() {
        return root;
    }

    /** Log position whose state it is. */
    public long position() {
        return root.position();
    }

    /** Closing again does nothing. */
    @Override
    public void close() {
        upkeep.unpin(this);
    }
}
