package blocktree.crypto;

import blocktree.crypto.CryptoException.Denial;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The domain keys that an identity can open: by readcaps of its own, through the key of a later epoch, and through the parent's key
 * where a domain inherits. Each key is held against the commitment of its epoch before it is handed out. Opened keys are kept until
 * {@link #close}, which zeroes them; the ring owns them and callers do not close them. Does not own identity or authority. Thread-safe.
 */
public final class KeyRing implements AutoCloseable {

    private record Name(DomainId domain, int epoch) {}

    /** A refusal, and up to which log position it was worked out; later records may change it. */
    private record Refusal(long position, CryptoException reason) {}

    private final Identity identity;
    private final Authority authority;
    private final ConcurrentHashMap<Name, DomainKey> keys = new ConcurrentHashMap<>();

    // Guarded by this.
    private final Map<Name, Refusal> refusals = new HashMap<>();
    private boolean closed;

    public KeyRing(Identity identity, Authority authority) {
        this.identity = identity;
        this.authority = authority;
    }

    /**
     * The key of one epoch of a domain. DENIED when nothing in the log gives it to this identity, WRONG_KEY when what the log gives is
     * not what the epoch committed to. IllegalStateException once closed.
     */
    public DomainKey domainKey(DomainId domain, int epoch) throws CryptoException {
        DomainKey key = keys.get(new Name(domain, epoch));
        return key == null ? open(domain, epoch) : key;
    }

    /** The key of the newest epoch, the one to write under. */
    public DomainKey currentKey(DomainId domain) throws CryptoException {
        return domainKey(domain, currentEpoch(domain));
    }

    /** The newest epoch's number; 0 when the domain has none or is not known. */
    public int currentEpoch(DomainId domain) {
        return authority.currentEpoch(domain);
    }

    private synchronized DomainKey open(DomainId domain, int epoch) throws CryptoException {
        if (closed) {
            throw new IllegalStateException("key ring is closed");
        }
        Name name = new Name(domain, epoch);
        Refusal refusal = refusals.get(name);
        long position = authority.position();
        if (refusal != null && refusal.position == position) {
            throw refusal.reason;
        }
        try {
            DomainKey key = find(domain, epoch);
            refusals.remove(name);
            return key;
        } catch (CryptoException e) {
            refusals.put(name, new Refusal(position, e));
            throw e;
        }
    }

    /** From the nearest later epoch that opens, down to the one asked for. The depth of recursion is that of the domains. */
    private DomainKey find(DomainId domain, int epoch) throws CryptoException {
        int current = authority.currentEpoch(domain);
        if (epoch < 1 || epoch > current) {
            throw CryptoException.denied(Denial.UNKNOWN_EPOCH, "domain " + domain + " has no epoch " + epoch);
        }
        CryptoException wrong = null;
        for (int from = epoch; from <= current; from++) {
            try {
                DomainKey key = directly(domain, from);
                if (key != null) {
                    return descend(key, epoch);
                }
            } catch (CryptoException e) {
                wrong = e;
            }
        }
        if (wrong != null) {
            throw new CryptoException(
                    CryptoException.Code.WRONG_KEY,
                    "what the log gives for epoch " + epoch + " of domain " + domain + " does not open it",
                    wrong);
        }
        throw CryptoException.denied(
                Denial.NO_CAPABILITY, identity.id() + " has no readcap for epoch " + epoch + " of domain " + domain);
    }

    /** The key as kept, from a readcap, or from the parent's; null when none of them gives it. */
    private @Nullable DomainKey directly(DomainId domain, int epoch) throws CryptoException {
        DomainKey kept = keys.get(new Name(domain, epoch));
        if (kept != null) {
            return kept;
        }
        CryptoException wrong = null;
        for (ReadCapability readcap : authority.readcaps(identity.id(), domain)) {
            if (readcap.epoch() == epoch) {
                try {
                    return keep(readcap.open(identity));
                } catch (CryptoException e) {
                    wrong = e;
                }
            }
        }
        EpochRecord record = record(domain, epoch);
        DomainRecord made = authority.domain(domain);
        DomainId parent = made == null ? null : made.parent();
        if (record.parentEpoch() != 0 && parent != null) {
            DomainKey parentKey = parentKey(parent, record.parentEpoch());
            if (parentKey != null) {
                return keep(parentKey.openChild(domain, epoch, record.parentSealed()));
            }
        }
        if (wrong != null) {
            throw wrong;
        }
        return null;
    }

    private @Nullable DomainKey parentKey(DomainId parent, int epoch) throws CryptoException {
        try {
            return find(parent, epoch);
        } catch (CryptoException e) {
            if (e.code() == CryptoException.Code.DENIED) {
                return null;
            }
            throw e;
        }
    }

    private DomainKey descend(DomainKey from, int epoch) throws CryptoException {
        DomainKey key = from;
        while (key.epoch() > epoch) {
            DomainKey kept = keys.get(new Name(key.domain(), key.epoch() - 1));
            key = kept != null
                    ? kept
                    : keep(key.openPrevious(record(key.domain(), key.epoch()).previousSealed()));
        }
        return key;
    }

    private DomainKey keep(DomainKey key) throws CryptoException {
        if (!key.commitment().equals(record(key.domain(), key.epoch()).commitment())) {
            key.close();
            throw new CryptoException(
                    CryptoException.Code.WRONG_KEY,
                    "key is not the one that epoch " + key.epoch() + " of domain " + key.domain() + " committed to");
        }
        keys.put(new Name(key.domain(), key.epoch()), key);
        return key;
    }

    private EpochRecord record(DomainId domain, int epoch) {
        EpochRecord record = authority.epoch(domain, epoch);
        if (record == null) {
            throw new IllegalStateException("epoch " + epoch + " of domain " + domain + " has gone");
        }
        return record;
    }

    @Override
    public synchronized void close() {
        closed = true;
        keys.values().forEach(DomainKey::close);
        keys.clear();
        refusals.clear();
    }

    @Override
    public String toString() {
        return "KeyRing[" + identity.id() + ", " + keys.size() + " keys, redacted]";
    }
}
