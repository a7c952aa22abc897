package blocktree.btmsg.session;

import blocktree.crypto.PrincipalId;
import java.net.InetSocketAddress;
import java.util.List;

/**
 * A node of the tree, as another tells of it: to dial it, not to trust it.
 *
 * @param addresses names may be unresolved
 */
public record Member(PrincipalId principal, String nodePath, List<InetSocketAddress> addresses) {}
