package blocktree.crypto;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The records that make a principal a node of a tree, for the log to take in this order: its chain, then a read capability for each
 * domain that it is to read. Holds no secret.
 */
public record NodeAdmission(WriteCapabilityChain chain, List<ReadCapability> readCapabilities) {

    /**
     * By a root principal.
     *
     * @param rights with {@link Rights#NODE}
     * @param readable newest keys of the domains that the node is to read, without those that inherit; none for one that reads nothing
     * @param nowMillis log time, from which it is a node
     * @throws CryptoException MALFORMED when the node's KEM key is not valid
     */
    public static NodeAdmission create(
            Authority authority,
            Identity root,
            PrincipalKeys node,
            Rights rights,
            Collection<DomainKey> readable,
            long nowMillis)
            throws CryptoException {
        return create(authority, root, null, node, rights, readable, nowMillis, WriteCapability.NO_END);
    }

    /**
     * By whom {@code chain} lets delegate these rights in the root domain; by a root principal when it is null.
     *
     * @param notAfterMillis log time from which it is a node no longer
     */
    public static NodeAdmission create(
            Authority authority,
            Identity issuer,
            @Nullable WriteCapabilityChain chain,
            PrincipalKeys node,
            Rights rights,
            Collection<DomainKey> readable,
            long nowMillis,
            long notAfterMillis)
            throws CryptoException {
        if (!rights.contains(Rights.NODE)) {
            throw new IllegalArgumentException("a node without the right to be one");
        }
        DomainRecord top = authority.rootDomain();
        if (top == null) {
            throw new IllegalStateException("a tree has a root domain");
        }
        WriteCapability link =
                WriteCapability.issue(issuer, top.tree(), top.domain(), node, rights, nowMillis, notAfterMillis);
        List<ReadCapability> readCapabilities = new ArrayList<>();
        for (DomainKey key : readable) {
            readCapabilities.add(ReadCapability.issue(issuer, key, node));
        }
        return new NodeAdmission(
                chain == null ? WriteCapabilityChain.of(List.of(link)) : chain.append(link),
                List.copyOf(readCapabilities));
    }

    public List<TreeFounding.Entry> entries() {
        List<TreeFounding.Entry> entries = new ArrayList<>();
        entries.add(new TreeFounding.Entry(RecordKind.WRITECAP_CHAIN, chain.toBytes()));
        readCapabilities.forEach(
                capability -> entries.add(new TreeFounding.Entry(RecordKind.READCAP, capability.toBytes())));
        return List.copyOf(entries);
    }
}
