package blocktree.btmsg.session;

import blocktree.crypto.NodeAdmission;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.TreeFounding;
import java.io.IOException;
import java.util.List;

/** What a member needs of its tree to take somebody in. Thread-safe; may block. */
public interface Certifier {

    /**
     * The records by which somebody who knows the tree's id alone finds its root principals: genesis, root domain, every rotation, in the
     * log's order.
     */
    List<TreeFounding.Entry> foundation();

    /** Whom a new node is to ask and to dial, this node among them; it is told of the first 1,024. */
    List<Member> members();

    /**
     * Makes {@code node} a node: when this returns, the records of its admission are in the tree's log and on disk. For keys that it was
     * given before, as happens when the answer was lost, it gives what stands or makes it good, and nothing twice.
     *
     * @param name that the node is to have, see {@link NodeRecord#isName}
     * @return read capabilities for a trusted role, none for a blind one
     * @throws IOException when it cannot: the joiner is told the message, and may come again with the same keys
     */
    NodeAdmission certify(PrincipalKeys node, NodeRole role, String name) throws IOException;
}
