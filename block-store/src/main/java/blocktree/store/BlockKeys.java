package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.BlockKey;
import blocktree.crypto.CryptoException;
import blocktree.crypto.KeyRing;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The block keys in memory: a bounded number, the least recently used closed first, so that a key is zeroed soon after its last use. A
 * key that is closed while somebody is about to use it refuses with IllegalStateException: {@link #with} then opens it again.
 * Thread-safe.
 */
final class BlockKeys implements AutoCloseable {

    private record Name(BlockId block, int epoch) {}

    /** What is done with a key. */
    @FunctionalInterface
    interface KeyUse<T> {
        T use(BlockKey key) throws CryptoException;
    }

    private static final int ATTEMPTS = 4;

    private final KeyRing ring;
    private final int keysMax;
    private final Map<Name, BlockKey> keys = new LinkedHashMap<>(16, 0.75f, true); // guarded by itself
    private boolean closed; // guarded by keys

    BlockKeys(KeyRing ring, int keysMax) {
        this.ring = ring;
        this.keysMax = keysMax;
    }

    /** Runs {@code use} with the key of {@code header} for {@code epoch}; CORRUPT when the header has none or it does not open. */
    <T> T with(Header header, int epoch, KeyUse<T> use) throws StoreException {
        for (int attempt = 1; ; attempt++) {
            BlockKey key = get(header, epoch);
            try {
                return use.use(key);
            } catch (CryptoException e) {
                throw StoreException.corrupt("block " + header.block() + " generation " + header.generation()
                        + " does not open: " + e.getMessage());
            } catch (IllegalStateException e) {
                if (attempt == ATTEMPTS || !key.isClosed()) {
                    throw e;
                }
            }
        }
    }

    private BlockKey get(Header header, int epoch) throws StoreException {
        Name name = new Name(header.block(), epoch);
        synchronized (keys) {
            BlockKey key = keys.get(name);
            if (key != null) {
                return key;
            }
        }
        Header.@Nullable WrappedKey wrapped = header.key(epoch);
        if (wrapped == null) {
            throw StoreException.corrupt("header of block " + header.block() + " generation " + header.generation()
                    + " has no key of epoch " + epoch);
        }
        try {
            return put(ring.domainKey(header.domain(), epoch).openBlockKey(header.block(), epoch, wrapped.wrapped()));
        } catch (CryptoException e) {
            throw Ledger.failure("key of block " + header.block(), e);
        }
    }

    /** Takes over a key that the next header of its block will carry; gives back the one to use. */
    BlockKey put(BlockKey key) throws StoreException {
        synchronized (keys) {
            if (closed) {
                key.close();
                throw new StoreException(StoreException.Code.CLOSED, "the store is closed");
            }
            BlockKey kept = keys.putIfAbsent(new Name(key.block(), key.epoch()), key);
            if (kept != null) {
                if (kept != key) {
                    key.close();
                }
                return kept;
            }
            if (keys.size() > keysMax) {
                var eldest = keys.values().iterator();
                eldest.next().close();
                eldest.remove();
            }
            return key;
        }
    }

    int size() {
        synchronized (keys) {
            return keys.size();
        }
    }

    @Override
    public void close() {
        synchronized (keys) {
            closed = true;
            keys.values().forEach(BlockKey::close);
            keys.clear();
        }
    }
}
