package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.Rights;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.IntegrityNode.Entry;
import blocktree.store.PayloadUpdate.NewNode;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Checks a commit that somebody else sealed: everything that does not depend on what is committed meanwhile. Knows no plaintext. What
 * it checks is invariant 5 of a header (who, for what, following what) and invariant 7 of what comes with it: the nodes and sectors
 * supplied are exactly those that the new tree has and the one before has not.
 */
final class CommitVerifier {

    private final TreeId tree;
    private final Authority authority;
    private final IntegrityNodes nodes;

    CommitVerifier(TreeId tree, Authority authority, IntegrityNodes nodes) {
        this.tree = tree;
        this.authority = authority;
        this.nodes = nodes;
    }

    /** Signature, tree, and the root over the headers. */
    CommitBody verifyEnvelope(byte[] encoded, List<Hash> headerHashes) throws StoreException {
        CommitBody body = verifySignature(encoded);
        if (body.headerCount() != headerHashes.size()) {
            throw StoreException.invalid(
                    "commit is of " + body.headerCount() + " headers, " + headerHashes.size() + " came with it");
        }
        if (!new HeadersTree(headerHashes).root().equals(body.headersRoot())) {
            throw StoreException.invalid("the headers are not those that the commit signs");
        }
        return body;
    }

    /** The body of a commit of this tree, signed by the subject of a chain that the log holds. */
    CommitBody verifySignature(byte[] encoded) throws StoreException {
        try {
            SignedEnvelope envelope = SignedEnvelope.parse(encoded);
            CommitBody body = CommitBody.parse(envelope.body());
            if (!body.tree().equals(tree)) {
                throw new StoreException(StoreException.Code.DENIED, "commit is for tree " + body.tree());
            }
            if (!body.writer().equals(envelope.signer())) {
                throw new StoreException(
                        StoreException.Code.DENIED,
                        "commit of " + body.writer() + " is signed by " + envelope.signer());
            }
            WriteCapabilityChain chain = authority.chain(body.chain());
            if (chain == null) {
                throw new StoreException(StoreException.Code.DENIED, "no chain " + body.chain() + " in the log");
            }
            PrincipalKeys keys = chain.subject();
            envelope.verify(SignatureKind.COMMIT, keys);
            return body;
        } catch (CryptoException e) {
            throw Ledger.failure("commit", e);
        }
    }

    /** Authority for one header at a place in the log; for a new commit and for an old one alike. */
    void verifyAuthority(CommitBody body, Header header, long position, long timeMillis) throws StoreException {
        try {
            if (header.tombstone()) {
                // Deleting needs no key, so no key epoch binds it.
                authority.checkRights(body.writer(), body.chain(), header.domain(), Rights.WRITE, position, timeMillis);
                return;
            }
            authority.check(
                    body.writer(), body.chain(), header.domain(), header.epoch(), Rights.WRITE, position, timeMillis);
        } catch (CryptoException e) {
            throw Ledger.failure("commit of block " + header.block(), e);
        }
        Hash commitment = authority.epochCommitment(header.domain(), header.epoch());
        if (commitment == null || !Objects.equals(commitment, header.epochCommitment())) {
            throw new StoreException(
                    StoreException.Code.DENIED,
                    "block " + header.block() + " does not commit to the key of epoch " + header.epoch());
        }
    }

    /** What binds a header to its own block and to the header before it. */
    void verifySuccession(CommitBody body, Header header, @Nullable Header predecessor) throws StoreException {
        if (predecessor == null) {
            if (!header.idIsDerived(tree)) {
                throw new StoreException(
                        StoreException.Code.DENIED,
                        "id " + header.block() + " is not that of its domain, creator and nonce");
            }
            if (!header.creator().equals(body.writer())) {
                throw new StoreException(
                        StoreException.Code.DENIED,
                        "block " + header.block() + " of creator " + header.creator() + " is created by "
                                + body.writer());
            }
            return;
        }
        boolean same = header.domain().equals(predecessor.domain())
                && header.creator().equals(predecessor.creator())
                && header.nonce().equals(predecessor.nonce());
        if (!same) {
            throw new StoreException(
                    StoreException.Code.DENIED,
                    "domain, creator and nonce of block " + header.block() + " never change");
        }
        if (predecessor.tombstone()) {
            throw new StoreException(StoreException.Code.CONFLICT, "block " + header.block() + " is deleted");
        }
        if (!header.tombstone()) {
            verifyKeys(header, predecessor);
        }
    }

    /** Keys are only added, so what an earlier generation sealed can still be opened, and with the same key. */
    private static void verifyKeys(Header header, Header predecessor) throws StoreException {
        List<Header.WrappedKey> before = predecessor.keys();
        List<Header.WrappedKey> now = header.keys();
        boolean kept = now.size() == before.size() || now.size() == before.size() + 1;
        for (int i = 0; kept && i < before.size(); i++) {
            kept = now.get(i).epoch() == before.get(i).epoch()
                    && Arrays.equals(now.get(i).wrapped(), before.get(i).wrapped());
        }
        if (!kept) {
            throw StoreException.invalid("block " + header.block() + " does not keep its earlier keys");
        }
    }

    /**
     * Nodes and sectors: all that the new tree has beyond the one before, nothing else. Fills {@code garbage} with what it no longer
     * has; null for the first generation.
     */
    void verifyPayload(SealedBlock block, @Nullable Header predecessor, Garbage.@Nullable Builder garbage)
            throws StoreException {
        Header header = block.header();
        if (!header.tombstone()) {
            verifyEpoch(header, header.sealed(), "attributes");
        }
        boolean keepsSectors =
                predecessor != null && !header.tombstone() && predecessor.sectorSizeLog2() == header.sectorSizeLog2();
        Payload base = keepsSectors && predecessor != null
                ? Payload.of(nodes, predecessor)
                : Payload.empty(nodes, header.block());
        if (garbage != null && !keepsSectors) {
            garbage.all();
        }
        new PayloadCheck(block, base, garbage).run();
    }

    /** What is written now is sealed with the newest key: an older one may be known to readers who were shut out since. */
    private static void verifyEpoch(Header header, byte[] ciphertext, String what) throws StoreException {
        try {
            int epoch = SectorCipher.epochOf(ciphertext, 0, ciphertext.length);
            if (epoch != header.epoch()) {
                throw StoreException.invalid(what + " of block " + header.block() + " is sealed under epoch " + epoch
                        + ", its header is of " + header.epoch());
            }
        } catch (CryptoException e) {
            throw StoreException.invalid(what + " of block " + header.block() + ": " + e.getMessage());
        }
    }

    /** One walk down the changed part of a new tree. */
    private final class PayloadCheck {

        private final Header header;
        private final SealedBlock block;
        private final Payload base;
        private final Garbage.@Nullable Builder garbage;
        private final Map<Long, byte[]> supplied = new HashMap<>();
        private final Set<Long> usedSectors = new HashSet<>();
        private int usedNodes;

        PayloadCheck(SealedBlock block, Payload base, Garbage.@Nullable Builder garbage) throws StoreException {
            this.header = block.header();
            this.block = block;
            this.base = base;
            this.garbage = garbage;
            for (NewNode node : block.nodes()) {
                if (!IntegrityNode.isWellFormed(node.bytes())
                        || node.level() < 0
                        || node.level() > 8
                        || node.index() < 0
                        || node.index() > Header.SECTORS_MAX) {
                    throw StoreException.invalid("integrity node of block " + header.block() + " is malformed");
                }
                if (supplied.put(name(node.level(), node.index()), node.bytes()) != null) {
                    throw StoreException.invalid("integrity node of block " + header.block() + " comes twice");
                }
            }
        }

        private static long name(int level, long index) {
            return (long) level << 56 | index;
        }

        void run() throws StoreException {
            if (header.sectorCount() > 0) {
                int level = IntegrityNode.depth(header.sectorCount()) - 1;
                Entry top = top(level);
                if (!header.hasPayloadRoot(IntegrityNode.payloadRoot(header.sectorCount(), header.sectorSize(), top))) {
                    throw StoreException.invalid("block " + header.block() + " has another payload root than it says");
                }
                check(level, 0, top);
            }
            if (usedNodes != block.nodes().size()
                    || usedSectors.size() != block.sectors().size()) {
                throw StoreException.invalid("commit brings what block " + header.block() + " does not have");
            }
            if (garbage != null && base.sectorCount() > 0) {
                recordGarbage(base.topLevel(), 0, base.top());
            }
        }

        private Entry top(int level) throws StoreException {
            if (header.payloadGeneration() == 0) {
                return Entry.HOLE;
            }
            if (header.payloadGeneration() == header.generation()) {
                byte[] node = supplied.get(name(level, 0));
                if (node == null) {
                    throw StoreException.invalid("commit withholds the top node of block " + header.block());
                }
                return new Entry(header.generation(), IntegrityNode.nodeHash(level, node));
            }
            Entry taken = base.entry(level, 0);
            if (taken.generation() != header.payloadGeneration()) {
                throw StoreException.invalid("block " + header.block() + " names generation "
                        + header.payloadGeneration() + " for its top node, which is of " + taken.generation());
            }
            return taken;
        }

        private void check(int level, long index, Entry entry) throws StoreException {
            if (entry.isHole()) {
                return;
            }
            if (entry.generation() != header.generation()) {
                if (!base.entry(level, index).equals(entry)) {
                    throw StoreException.invalid("block " + header.block() + " takes over what it has not had");
                }
                checkEnd(level, index, entry);
                return;
            }
            if (level < 0) {
                checkSector(index, entry);
                return;
            }
            byte[] node = supplied.get(name(level, index));
            if (node == null || !IntegrityNode.nodeHash(level, node).equals(entry.hash())) {
                throw StoreException.invalid(
                        "commit withholds integrity node " + level + "/" + index + " of block " + header.block());
            }
            usedNodes++;
            for (int child = 0; child < node.length / IntegrityNode.ENTRY_SIZE; child++) {
                check(level - 1, (index << IntegrityNode.FAN_OUT_LOG2) + child, IntegrityNode.entry(node, child));
            }
        }

        /** A subtree that is taken over must not reach behind the end of a payload that was cut. */
        private void checkEnd(int level, long index, Entry entry) throws StoreException {
            long end = level < 0 ? index + 1 : (index + 1) * IntegrityNode.sectorsBelow(level);
            if (end <= header.sectorCount()) {
                return;
            }
            if (header.sectorCount() < base.sectorCount()
                    && base.nextData(Math.max(header.sectorCount(), 0)) < Math.min(end, base.sectorCount())) {
                throw StoreException.invalid("block " + header.block() + " keeps sectors behind its end");
            }
        }

        private void checkSector(long index, Entry entry) throws StoreException {
            Sector sector = block.sectors().get(index);
            if (sector == null || index >= header.sectorCount()) {
                throw StoreException.invalid("commit withholds sector " + index + " of block " + header.block());
            }
            if (sector.size() != header.sectorSize() + SectorCipher.OVERHEAD) {
                throw StoreException.invalid(
                        "sector " + index + " of block " + header.block() + " has " + sector.size() + " bytes");
            }
            if (!Hash.of(sector.hash()).equals(entry.hash())) {
                throw StoreException.invalid(
                        "sector " + index + " of block " + header.block() + " is not the one that its tree names");
            }
            byte[] head = new byte[SectorCipher.OVERHEAD];
            sector.ciphertext().duplicate().get(head);
            verifyEpoch(header, head, "sector " + index);
            usedSectors.add(index);
        }

        /** What the base has and the new tree has not at the same place. Walks only what changed. */
        private void recordGarbage(int level, long index, Entry old) throws StoreException {
            if (garbage == null || old.isHole() || entryNow(level, index).equals(old)) {
                return;
            }
            if (level < 0) {
                garbage.sector(index, old.generation());
                return;
            }
            garbage.node(level, index, old.generation());
            byte[] node = base.node(level, index, old);
            for (int child = 0; child < node.length / IntegrityNode.ENTRY_SIZE; child++) {
                recordGarbage(
                        level - 1, (index << IntegrityNode.FAN_OUT_LOG2) + child, IntegrityNode.entry(node, child));
            }
        }

        /** The new tree's entry for a node or sector, from the supplied nodes and, where they name the base's, from that. */
        private Entry entryNow(int level, long index) throws StoreException {
            if (header.sectorCount() == 0) {
                return Entry.HOLE;
            }
            int at = IntegrityNode.depth(header.sectorCount()) - 1;
            if (level > at || (index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level)) != 0) {
                return Entry.HOLE;
            }
            Entry entry = top(at);
            for (; at > level && !entry.isHole(); at--) {
                if (entry.generation() != header.generation()) {
                    return base.entry(level, index);
                }
                long nodeIndex = index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level);
                int child =
                        (int) (index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level - 1)) & (IntegrityNode.FAN_OUT - 1);
                byte[] node = supplied.get(name(at, nodeIndex));
                if (node == null) {
                    throw StoreException.invalid("commit withholds an integrity node of block " + header.block());
                }
                entry = IntegrityNode.entry(node, child);
            }
            return entry;
        }
    }
}
