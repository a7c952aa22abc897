package blocktree.crypto;

import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.List;

/** Write capabilities from a root principal's to that of the writer (docs/format.md, section 2). Immutable; a claim until an {@link Authority} took it. */
public final class WriteCapabilityChain {

    /** Most links. */
    public static final int LINKS_MAX = 8;

    static final int SIZE_MAX = LINKS_MAX * 2048;

    private final byte[] encoded;
    private final List<WriteCapability> links;
    private final Hash id;

    private WriteCapabilityChain(byte[] encoded, List<WriteCapability> links) {
        this.encoded = encoded;
        this.links = links;
        this.id = TaggedHash.of("chain").add(encoded).hash();
    }

    /** Root's link first, 1 to 8. */
    public static WriteCapabilityChain of(List<WriteCapability> links) {
        if (links.isEmpty() || links.size() > LINKS_MAX) {
            throw new IllegalArgumentException("a chain has 1 to 8 links, not " + links.size());
        }
        CryptoProto.WriteCapChain.Builder chain = CryptoProto.WriteCapChain.newBuilder();
        links.forEach(link -> chain.addLinks(Wire.bytes(link.toBytes())));
        return new WriteCapabilityChain(chain.build().toByteArray(), List.copyOf(links));
    }

    /** This chain with one more link at its end. */
    public WriteCapabilityChain append(WriteCapability link) {
        List<WriteCapability> longer = new ArrayList<>(links);
        longer.add(link);
        return of(longer);
    }

    /** Reads hostile bytes; verifies nothing. */
    public static WriteCapabilityChain parse(byte[] encoded) throws CryptoException {
        CryptoProto.WriteCapChain chain =
                Wire.parse(CryptoProto.WriteCapChain.parser(), encoded, SIZE_MAX, "capability chain");
        Wire.checkCount(chain.getLinksList(), LINKS_MAX, "links");
        List<WriteCapability> links = new ArrayList<>();
        for (ByteString link : chain.getLinksList()) {
            links.add(WriteCapability.parse(link.toByteArray()));
        }
        return new WriteCapabilityChain(encoded.clone(), List.copyOf(links));
    }

    /** H("chain", bytes): what commits and checkpoints name. */
    public Hash id() {
        return id;
    }

    public List<WriteCapability> links() {
        return links;
    }

    /** What it grants its subject, as long as all of its links hold. */
    public Rights rights() {
        return last().rights();
    }

    WriteCapability last() {
        return links.get(links.size() - 1);
    }

    /** Whom the chain makes a writer. */
    public PrincipalKeys subject() {
        return last().subject();
    }

    public byte[] toBytes() {
        return encoded.clone();
    }

    @Override
    public String toString() {
        return "WriteCapabilityChain[" + id + ", subject=" + subject().id() + "]";
    }
}
