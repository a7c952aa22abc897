package blocktree.btmsg.session;

import blocktree.crypto.PrincipalId;
import blocktree.crypto.WriteCapabilityChain;

/**
 * Who is at the other end of a session: proven, except for what it says of itself.
 *
 * @param principal proven
 * @param chain proven, its subject is the principal; checked when the session began and whenever the authority changed
 * @param nodePath what it calls itself
 * @param software what it says it runs
 */
public record PeerIdentity(PrincipalId principal, WriteCapabilityChain chain, String nodePath, String software) {}
