package blocktree.btmsg.session;

import blocktree.crypto.PrincipalId;
import java.net.InetSocketAddress;
import java.util.concurrent.CompletableFuture;

/** One try to reach a principal at an address; {@code result} gives the session, or a {@link DialException}. */
record Dial(PrincipalId principal, InetSocketAddress address, CompletableFuture<Session> result) {}
