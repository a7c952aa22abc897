package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.TaggedHash;
import blocktree.crypto.TreeId;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One generation of a block (docs/format.md, section 3.1), with the exact bytes that its hash is over. Its bounds are checked when it
 * is parsed; that it belongs where it was found is for the caller to check.
 *
 * @param predecessor hash of the header of {@code generation - 1}; null at 1
 * @param epochCommitment of the domain key that wraps the last block key; null for a tombstone
 * @param keys ascending by epoch, the last one seals what is written now; empty for a tombstone
 * @param payloadRoot null without sectors
 * @param payloadGeneration the generation that wrote the top node of the integrity tree; 0 when it is a hole
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, compared by hash
record Header(
        byte[] encoded,
        Hash hash,
        BlockId block,
        DomainId domain,
        PrincipalId creator,
        Hash nonce,
        long generation,
        @Nullable Hash predecessor,
        int epoch,
        @Nullable Hash epochCommitment,
        List<WrappedKey> keys,
        int sectorSizeLog2,
        long sectorCount,
        @Nullable Hash payloadRoot,
        long payloadGeneration,
        byte[] sealed,
        boolean tombstone) {

    /** A block key under the domain key of {@code epoch}. */
    @SuppressWarnings("ArrayRecordComponent")
    record WrappedKey(int epoch, byte[] wrapped) {}

    static final int SECTOR_SIZE_LOG2_MIN = 12;
    static final int SECTOR_SIZE_LOG2_MAX = 20;

    /** 2^52 sectors of 4 KiB are 16 EiB, more than a file can have. */
    static final long SECTORS_MAX = 1L << 52;

    /** Most bytes of attributes. */
    static final int ATTRIBUTES_SIZE_MAX = 1 << 20;

    private static final int SEALED_SIZE_MAX = ATTRIBUTES_SIZE_MAX + ATTRIBUTES_SIZE_MAX / 8 + SectorCipher.OVERHEAD;
    private static final int KEYS_MAX = 4096;
    private static final int WRAPPED_SIZE = 60;

    /** Bound on the encoded bytes. */
    static final int SIZE_MAX = SEALED_SIZE_MAX + KEYS_MAX * (WRAPPED_SIZE + 12) + 1024;

    /** Encodes what {@code builder} holds, with version and suite, and computes the hash. */
    static Header of(StoreProto.Header.Builder builder) throws StoreException {
        return parse(builder.setVersion(1).setSuite(1).build().toByteArray());
    }

    /** Reads hostile bytes; INVALID when they are no header of version 1 within its bounds. */
    static Header parse(byte[] encoded) throws StoreException {
        Wire.checkSize(encoded, SIZE_MAX, "header");
        StoreProto.Header m;
        try {
            m = StoreProto.Header.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "header is not such a message", e);
        }
        Wire.checkVersion(m.getVersion(), m.getSuite(), "header");
        long generation = m.getGeneration();
        if (generation < 1 || generation == Long.MAX_VALUE) {
            throw StoreException.invalid("generation " + generation + " is out of range");
        }
        boolean tombstone = m.getTombstone();
        int log2 = m.getSectorSizeLog2();
        long count = m.getSectorCount();
        List<WrappedKey> keys = keys(m);
        if (tombstone) {
            boolean bare = keys.isEmpty()
                    && count == 0
                    && log2 == 0
                    && m.getSealed().isEmpty()
                    && m.getEpochCommitment().isEmpty()
                    && generation > 1;
            if (!bare) {
                throw StoreException.invalid("a tombstone has no keys and no content");
            }
        } else {
            if (log2 < SECTOR_SIZE_LOG2_MIN || log2 > SECTOR_SIZE_LOG2_MAX) {
                throw StoreException.invalid("sector size 2^" + log2 + " is out of range");
            }
            if (keys.isEmpty() || keys.get(keys.size() - 1).epoch() != m.getEpoch()) {
                throw StoreException.invalid("the last block key is not of the header's epoch");
            }
            int sealedSize = m.getSealed().size();
            if (sealedSize < SectorCipher.OVERHEAD || sealedSize > SEALED_SIZE_MAX) {
                throw StoreException.invalid("sealed attributes of " + sealedSize + " bytes");
            }
        }
        if (count < 0
                || count > SECTORS_MAX
                || (count == 0) != m.getPayloadRoot().isEmpty()) {
            throw StoreException.invalid("sector count " + count + " is out of range, or without payload root");
        }
        long payloadGeneration = m.getPayloadGeneration();
        if (payloadGeneration < 0 || payloadGeneration > generation || (count == 0 && payloadGeneration != 0)) {
            throw StoreException.invalid("payload generation " + payloadGeneration + " is out of range");
        }
        if ((generation == 1) != m.getPredecessor().isEmpty()) {
            throw StoreException.invalid("generation " + generation + " and its predecessor do not fit");
        }
        if (m.getEpoch() < 1) {
            throw StoreException.invalid("epoch " + m.getEpoch() + " is out of range");
        }
        return new Header(
                encoded,
                TaggedHash.of("header").add(encoded).hash(),
                BlockId.of(Wire.sized(m.getBlock(), Id.SIZE, "block")),
                DomainId.of(Wire.sized(m.getDomain(), Id.SIZE, "domain")),
                PrincipalId.of(Wire.sized(m.getCreator(), Id.SIZE, "creator")),
                Wire.hash(m.getNonce(), "nonce"),
                generation,
                generation == 1 ? null : Wire.hash(m.getPredecessor(), "predecessor"),
                m.getEpoch(),
                tombstone ? null : Wire.hash(m.getEpochCommitment(), "epoch commitment"),
                keys,
                log2,
                count,
                count == 0 ? null : Wire.hash(m.getPayloadRoot(), "payload root"),
                payloadGeneration,
                m.getSealed().toByteArray(),
                tombstone);
    }

    private static List<WrappedKey> keys(StoreProto.Header m) throws StoreException {
        if (m.getKeysCount() > KEYS_MAX) {
            throw StoreException.invalid(m.getKeysCount() + " block keys, more than " + KEYS_MAX);
        }
        List<WrappedKey> keys = new ArrayList<>(m.getKeysCount());
        int last = 0;
        for (StoreProto.WrappedKey key : m.getKeysList()) {
            if (key.getEpoch() <= last) {
                throw StoreException.invalid("block keys are not in ascending order of epochs");
            }
            last = key.getEpoch();
            keys.add(new WrappedKey(last, Wire.sized(key.getWrapped(), WRAPPED_SIZE, "wrapped key")));
        }
        return List.copyOf(keys);
    }

    int sectorSize() {
        return 1 << sectorSizeLog2;
    }

    /** The wrapped block key that sealed what names {@code keyEpoch}; null when the header has none. */
    @Nullable
    WrappedKey key(int keyEpoch) {
        for (WrappedKey key : keys) {
            if (key.epoch() == keyEpoch) {
                return key;
            }
        }
        return null;
    }

    boolean hasPayloadRoot(Hash root) {
        return Objects.equals(payloadRoot, root);
    }

    boolean hasPredecessor(Hash headerHash) {
        return Objects.equals(predecessor, headerHash);
    }

    /** Whether the block's id is that of its tree, domain, creator and nonce. */
    boolean idIsDerived(TreeId tree) {
        return block.equals(BlockId.derive(tree, domain, creator, nonce.toBytes()));
    }

    /** A builder with what every generation of the block has in common, for the generation after this one. */
    StoreProto.Header.Builder next() {
        return first(block, domain, creator, nonce)
                .setGeneration(generation + 1)
                .setPredecessor(Wire.bytes(hash));
    }

    static StoreProto.Header.Builder first(BlockId block, DomainId domain, PrincipalId creator, Hash nonce) {
        return StoreProto.Header.newBuilder()
                .setBlock(Wire.bytes(block))
                .setDomain(Wire.bytes(domain))
                .setCreator(Wire.bytes(creator))
                .setNonce(Wire.bytes(nonce))
                .setGeneration(1);
    }

    static StoreProto.WrappedKey message(WrappedKey key) {
        return StoreProto.WrappedKey.newBuilder()
                .setEpoch(key.epoch())
                .setWrapped(ByteString.copyFrom(key.wrapped()))
                .build();
    }

    @Override
    public boolean equals(Object other) {
        return this == other || other instanceof Header header && hash.equals(header.hash);
    }

    @Override
    public int hashCode() {
        return hash.hashCode();
    }

    @Override
    public String toString() {
        return "Header[block=" + block + ", generation=" + generation + ", sectors=" + sectorCount + "]";
    }
}
