package blocktree.btmsg.session;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainId;
import blocktree.crypto.Identity;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Revocation;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import java.util.List;

/** A tree's root key, its authority as one node has applied it, and capabilities for nodes that the log does not hold. */
final class TestTree {
    final Identity root = Identity.generate();
    final long startMillis = System.currentTimeMillis() - 60_000;
    final TreeId tree;
    final DomainId top;
    final Authority authority;
    private final TreeFounding founding = TreeFounding.create(root, Identity.generate(), startMillis);

    TestTree() {
        tree = founding.tree();
        top = founding.rootDomain();
        authority = newAuthority();
    }

    /** What another node knows that has applied only the founding records. */
    Authority newAuthority() {
        Authority fresh = new Authority(tree);
        try {
            for (TreeFounding.Entry entry : founding.entries()) {
                fresh.apply(entry.kind(), entry.payload(), fresh.position() + 1, startMillis);
            }
        } catch (CryptoException e) {
            throw new IllegalStateException(e);
        }
        return fresh;
    }

    /** What tells who knows the tree's id its root principals. */
    List<TreeFounding.Entry> foundation() {
        return founding.entries().stream()
                .filter(entry -> entry.kind() == RecordKind.GENESIS || entry.kind() == RecordKind.DOMAIN)
                .toList();
    }

    long logTimeMillis() {
        return System.currentTimeMillis();
    }

    WriteCapability grant(Identity issuer, Identity node, Rights rights, long notBeforeMillis, long notAfterMillis) {
        return WriteCapability.issue(issuer, tree, top, node.keys(), rights, notBeforeMillis, notAfterMillis);
    }

    WriteCapabilityChain chain(Identity node) {
        return chain(node, Rights.NODE, startMillis, WriteCapability.NO_END);
    }

    WriteCapabilityChain chain(Identity node, Rights rights, long notBeforeMillis, long notAfterMillis) {
        return WriteCapabilityChain.of(List.of(grant(root, node, rights, notBeforeMillis, notAfterMillis)));
    }

    void revoke(WriteCapabilityChain chain) {
        WriteCapability link = chain.links().get(chain.links().size() - 1);
        try {
            authority.apply(
                    RecordKind.REVOCATION,
                    Revocation.create(root, tree, link.envelopeId(), startMillis)
                            .toBytes(),
                    authority.position() + 1,
                    startMillis);
        } catch (CryptoException e) {
            throw new IllegalStateException(e);
        }
    }
}
