package blocktree.btmsg.session;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainKey;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyRing;
import blocktree.crypto.NodeAdmission;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.TreeFounding;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;

/** Certifies by the tree's root key, and appends to the authority that the tree's nodes share. */
final class TestCertifier implements Certifier {
    private final TestTree tree;
    private final Identity root;
    final List<TreeFounding.Entry> foundation;
    volatile List<Member> members = List.of();

    /** What to fail with, until it is null. */
    volatile @Nullable String failure;

    /** Gives every role what a trusted one gets. */
    volatile boolean careless;

    /** Once this is there, whoever is certified waits for it. */
    volatile @Nullable CountDownLatch hold;

    // guarded by this
    private final Map<PrincipalId, NodeAdmission> admitted = new HashMap<>();
    private final List<String> names = new ArrayList<>();

    TestCertifier(TestTree tree) {
        this(tree, tree.root, tree.foundation());
    }

    TestCertifier(TestTree tree, Identity root, List<TreeFounding.Entry> foundation) {
        this.tree = tree;
        this.root = root;
        this.foundation = foundation;
    }

    @Override
    public List<TreeFounding.Entry> foundation() {
        return foundation;
    }

    @Override
    public List<Member> members() {
        return members;
    }

    @Override
    public synchronized NodeAdmission certify(PrincipalKeys node, NodeRole role, String name) throws IOException {
        CountDownLatch held = hold;
        if (held != null) {
            try {
                held.await();
            } catch (InterruptedException e) {
                throw new IOException(e);
            }
        }
        if (failure != null) {
            throw new IOException(failure);
        }
        names.add(name);
        NodeAdmission known = admitted.get(node.id());
        if (known == null) {
            known = admit(node, role);
            admitted.put(node.id(), known);
        }
        return known;
    }

    private NodeAdmission admit(PrincipalKeys node, NodeRole role) throws IOException {
        Authority authority = tree.authority;
        try (KeyRing ring = new KeyRing(root, authority)) {
            List<DomainKey> readable = role.trusted() || careless ? List.of(ring.currentKey(tree.top)) : List.of();
            NodeAdmission admission =
                    NodeAdmission.create(authority, root, node, role.rights(), readable, tree.startMillis);
            for (TreeFounding.Entry entry : admission.entries()) {
                authority.apply(entry.kind(), entry.payload(), authority.position() + 1, tree.startMillis);
            }
            return admission;
        } catch (CryptoException e) {
            throw new IOException(e);
        }
    }

    /** Of whoever was certified, in turn; once more for each time that it came again. */
    synchronized List<String> names() {
        return List.copyOf(names);
    }
}
