package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.LocalTable;
import blocktree.store.StoreException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Access times, which belong to this node and not to the tree: kept with relatime's rule, written in passing with the next commit, lost without harm. Thread-safe. */
final class AccessTimes {
    private static final Logger log = LoggerFactory.getLogger(AccessTimes.class);

    private static final String TABLE = "access";
    private static final long DAY_NANOS = 86_400_000_000_000L;
    private static final int PENDING_MAX = 8192;

    private final LocalTable table;
    private final ConcurrentHashMap<BlockId, Long> pending = new ConcurrentHashMap<>();
    private final AtomicBoolean damageLogged = new AtomicBoolean();

    AccessTimes(BlockStore store) {
        table = store.local(TABLE);
    }

    /** Called with a freshly loaded inode. */
    void apply(Inode inode) throws StoreException {
        Long changed = pending.get(inode.origin.block());
        if (changed != null) {
            inode.accessTimeNanos = changed;
            inode.accessTimeStored = true;
            return;
        }
        byte[] value = stored(inode.origin.block());
        if (value != null && value.length == Long.BYTES) {
            inode.accessTimeNanos = ByteBuffer.wrap(value).getLong();
            inode.accessTimeStored = true;
        }
    }

    /** Null also where the table is damaged: times of access are not worth refusing a file for. */
    private byte @Nullable [] stored(BlockId block) throws StoreException {
        try {
            return table.get(block.toBytes());
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
            if (!damageLogged.getAndSet(true)) {
                log.atWarn().setCause(e).log("access_times_lost");
            }
            return null;
        }
    }

    /** The inode was read: moves its access time when it is not newer than the last change, or a day old. */
    void accessed(Inode inode, long nowNanos) {
        long last = inode.accessTimeNanos;
        if (last <= inode.modifyTimeNanos || last <= inode.changeTimeNanos || nowNanos - last >= DAY_NANOS) {
            if (pending.size() < PENDING_MAX || pending.containsKey(inode.origin.block())) {
                set(inode, nowNanos);
            }
        }
    }

    /** Sets it whatever it was: utimensat(2). */
    void set(Inode inode, long nanos) {
        inode.accessTimeNanos = nanos;
        if (nanos != 0 || inode.accessTimeStored) {
            inode.accessTimeStored = true;
            pending.put(inode.origin.block(), nanos);
        }
    }

    boolean isEmpty() {
        return pending.isEmpty();
    }

    /** Puts what is pending into a commit. */
    Map<BlockId, Long> addTo(Commit commit) {
        Map<BlockId, Long> taken = new HashMap<>(pending);
        taken.forEach((block, nanos) -> commit.putLocal(
                TABLE,
                block.toBytes(),
                ByteBuffer.allocate(Long.BYTES).putLong(nanos).array()));
        return taken;
    }

    /** Writes what is pending without a commit. */
    void write() throws StoreException {
        for (Map.Entry<BlockId, Long> entry : pending.entrySet()) {
            table.put(
                    entry.getKey().toBytes(),
                    ByteBuffer.allocate(Long.BYTES).putLong(entry.getValue()).array());
            pending.remove(entry.getKey(), entry.getValue());
        }
    }

    void written(Map<BlockId, Long> taken) {
        taken.forEach(pending::remove);
    }

    /** The block is deleted, or never was. */
    void forget(Inode inode) {
        pending.remove(inode.origin.block());
    }

    /** The block is being deleted. */
    void delete(Inode inode, Commit commit) {
        if (inode.accessTimeStored) {
            commit.putLocal(TABLE, inode.origin.block().toBytes(), null);
        }
    }
}
