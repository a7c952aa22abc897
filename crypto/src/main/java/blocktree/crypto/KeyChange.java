package blocktree.crypto;

import blocktree.crypto.CryptoException.Denial;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The records that put a new key in the place of an old one: for the log to take in this order, all of them or none
 * (docs/decisions/0007-keys-change-in-one-batch.md). After them the old key signs nothing and opens nothing that is written later; every other writer and
 * reader goes on. Holds no secret.
 *
 * @param chain the chain through which the new key writes
 * @param writers others whose chains are issued again
 * @param readers others who are given the keys of the new epochs
 */
public record KeyChange(
        Hash chain, List<TreeFounding.Entry> entries, Set<PrincipalId> writers, Set<PrincipalId> readers) {

    /**
     * A new root principal for the tree's only one. Chains that count now are issued again under it.
     *
     * @param nowMillis log time
     * @param retiredUntilMillis log time until which links that {@code old} has issued to others still count; 0 for not at all
     * @throws CryptoException DENIED when {@code old} is not the root principal in force, or not the only one
     */
    public static KeyChange rotateRoot(
            Authority authority, Identity old, Identity fresh, long nowMillis, long retiredUntilMillis)
            throws CryptoException {
        checkOnlyRoot(authority, old);
        Maker maker = new Maker(authority, fresh, nowMillis);
        maker.add(
                RecordKind.ROTATION,
                RotationRecord.create(
                                old,
                                authority.tree(),
                                authority.rotations() + 1,
                                authority.lastRotation(),
                                List.of(fresh),
                                retiredUntilMillis)
                        .toBytes());
        Hash chain = maker.grant(fresh.keys(), Rights.ALL);
        maker.issueAgain(old.id());
        maker.revokeAllOf(old.id());
        maker.beginEpochs(old, old.id(), fresh.keys());
        return maker.made(chain, fresh.id());
    }

    /**
     * A new key for the node {@code old}, signed for by the root.
     *
     * @param nowMillis log time
     * @throws CryptoException DENIED when {@code root} is not a root principal in force
     */
    public static KeyChange replaceNode(
            Authority authority, Identity root, PrincipalId old, PrincipalKeys fresh, long nowMillis)
            throws CryptoException {
        checkRoot(authority, root);
        Maker maker = new Maker(authority, root, nowMillis);
        Hash chain = maker.grant(fresh, TreeFounding.NODE_RIGHTS);
        maker.revokeAllOf(old);
        maker.beginEpochs(root, old, fresh);
        return maker.made(chain, fresh.id());
    }

    /**
     * Ends the node {@code leaving}, signed for by the root: it may do nothing more in the tree, and what is written from then on it cannot open. Its
     * records for the log to take whole; those who go on reading are given the keys of the new epochs.
     *
     * @param nowMillis log time
     * @throws CryptoException DENIED when {@code root} is not a root principal in force
     */
    public static List<TreeFounding.Entry> retireNode(
            Authority authority, Identity root, PrincipalId leaving, long nowMillis) throws CryptoException {
        checkRoot(authority, root);
        Maker maker = new Maker(authority, root, nowMillis);
        maker.revokeAllOf(leaving);
        maker.beginEpochs(root, leaving, null);
        return List.copyOf(maker.entries);
    }

    private static void checkRoot(Authority authority, Identity root) throws CryptoException {
        if (!authority.isRoot(root.id())) {
            throw CryptoException.denied(Denial.NOT_ROOT, root.id() + " is not the root key in force");
        }
    }

    private static void checkOnlyRoot(Authority authority, Identity root) throws CryptoException {
        checkRoot(authority, root);
        if (authority.roots().size() != 1) {
            throw CryptoException.denied(
                    Denial.NOT_ROOT,
                    "the tree has " + authority.roots().size() + " root keys, and each would have to sign");
        }
    }

    /** Makes records signed by a root that is in force when they are applied. */
    private static final class Maker {
        private final Authority authority;
        private final Identity root;
        private final DomainRecord top;
        private final long nowMillis;
        private final List<TreeFounding.Entry> entries = new ArrayList<>();
        private final Set<PrincipalId> writers = new LinkedHashSet<>();
        private final Set<PrincipalId> readers = new LinkedHashSet<>();

        Maker(Authority authority, Identity root, long nowMillis) {
            DomainRecord rootDomain = authority.rootDomain();
            if (rootDomain == null) {
                throw new IllegalStateException("a tree has a root domain");
            }
            this.authority = authority;
            this.root = root;
            this.top = rootDomain;
            this.nowMillis = nowMillis;
        }

        KeyChange made(Hash chain, PrincipalId fresh) {
            readers.remove(fresh);
            return new KeyChange(
                    chain,
                    List.copyOf(entries),
                    Collections.unmodifiableSet(writers),
                    Collections.unmodifiableSet(readers));
        }

        void add(RecordKind kind, byte[] payload) {
            entries.add(new TreeFounding.Entry(kind, payload));
        }

        private Hash add(WriteCapabilityChain chain) {
            add(RecordKind.WRITECAP_CHAIN, chain.toBytes());
            return chain.id();
        }

        Hash grant(PrincipalKeys subject, Rights rights) {
            return add(WriteCapabilityChain.of(List.of(WriteCapability.issue(
                    root, top.tree(), top.domain(), subject, rights, nowMillis, WriteCapability.NO_END))));
        }

        /** The chains to others that rest on {@code retired}, with their last link by it issued by the root instead. */
        void issueAgain(PrincipalId retired) {
            Map<Hash, WriteCapability> again = new HashMap<>();
            for (WriteCapabilityChain chain : authority.chains()) {
                List<WriteCapability> links = chain.links();
                int last = links.size() - 1;
                while (last >= 0 && !links.get(last).issuer().equals(retired)) {
                    last--;
                }
                if (last < 0 || links.get(last).subject().id().equals(retired) || !counts(chain)) {
                    continue;
                }
                WriteCapability old = links.get(last);
                List<WriteCapability> renewed = new ArrayList<>();
                renewed.add(again.computeIfAbsent(
                        old.envelopeId(),
                        id -> WriteCapability.issue(
                                root,
                                old.tree(),
                                old.domain(),
                                old.subject(),
                                old.rights(),
                                old.notBeforeMillis(),
                                old.notAfterMillis())));
                renewed.addAll(links.subList(last + 1, links.size()));
                add(WriteCapabilityChain.of(renewed));
                writers.add(chain.subject().id());
            }
        }

        /** Now or, unless somebody ends it, later. */
        private boolean counts(WriteCapabilityChain chain) {
            WriteCapability end = chain.links().get(chain.links().size() - 1);
            try {
                authority.checkRights(
                        end.subject().id(), chain.id(), end.domain(), end.rights(), authority.position(), nowMillis);
                return true;
            } catch (CryptoException e) {
                return e.denial() == Denial.NOT_YET_VALID;
            }
        }

        /** Every capability of {@code principal} that counts, and so also what it has delegated. */
        void revokeAllOf(PrincipalId principal) {
            Set<Hash> ended = new LinkedHashSet<>();
            for (WriteCapabilityChain chain : authority.chains()) {
                for (WriteCapability link : chain.links()) {
                    if (link.subject().id().equals(principal) && counts(chain)) {
                        ended.add(link.envelopeId());
                    }
                }
            }
            for (Hash link : ended) {
                add(
                        RecordKind.REVOCATION,
                        Revocation.create(root, top.tree(), link, nowMillis).toBytes());
            }
        }

        /**
         * A new epoch of every domain that {@code reader}, a root, can open, parents first. Its key goes to the root, to {@code arriving} (null: nobody) where
         * {@code leaving} had it, and to all others who had the key of the epoch before.
         */
        void beginEpochs(Identity reader, PrincipalId leaving, @Nullable PrincipalKeys arriving)
                throws CryptoException {
            List<DomainRecord> domains = new ArrayList<>(authority.domains());
            domains.sort(Comparator.comparingInt(this::depth));
            Map<DomainId, DomainKey> begun = new HashMap<>();
            try (KeyRing ring = new KeyRing(reader, authority)) {
                for (DomainRecord domain : domains) {
                    DomainId parent = domain.inherits() ? domain.parent() : null;
                    DomainKey before = domain.inherits() && !begun.containsKey(parent) ? null : current(ring, domain);
                    if (before == null) {
                        continue;
                    }
                    DomainKey key = DomainKey.random(top.tree(), domain.domain(), before.epoch() + 1);
                    begun.put(domain.domain(), key);
                    add(
                            RecordKind.EPOCH,
                            EpochRecord.create(
                                            root, key, key.epoch(), before, parent == null ? null : begun.get(parent))
                                    .toBytes());
                    for (PrincipalKeys recipient : recipients(domain, leaving, arriving)) {
                        add(
                                RecordKind.READCAP,
                                ReadCapability.issue(root, key, recipient).toBytes());
                        readers.add(recipient.id());
                    }
                }
            } finally {
                begun.values().forEach(DomainKey::close);
            }
        }

        private int depth(DomainRecord domain) {
            int depth = 0;
            for (DomainId id = domain.parent(); id != null; depth++) {
                DomainRecord parent = authority.domain(id);
                id = parent == null ? null : parent.parent();
            }
            return depth;
        }

        /** Null when the reader has no key of the domain, or the domain has no epoch. */
        private static @Nullable DomainKey current(KeyRing ring, DomainRecord domain) throws CryptoException {
            if (ring.currentEpoch(domain.domain()) == 0) {
                return null;
            }
            try {
                return ring.currentKey(domain.domain());
            } catch (CryptoException e) {
                if (e.code() == CryptoException.Code.DENIED) {
                    return null;
                }
                throw e;
            }
        }

        private Set<PrincipalKeys> recipients(
                DomainRecord domain, PrincipalId leaving, @Nullable PrincipalKeys arriving) {
            Set<PrincipalKeys> recipients = new LinkedHashSet<>();
            if (!domain.inherits()) {
                recipients.add(root.keys());
            }
            for (PrincipalKeys reader : authority.readers(domain.domain())) {
                PrincipalKeys recipient = reader.id().equals(leaving) ? arriving : reader;
                if (recipient != null) {
                    recipients.add(recipient);
                }
            }
            return recipients;
        }
    }
}
