/** Agreement by Apache Ratis over sessions of btmsg (docs/cluster.md, "Ratis"). Nothing outside knows the engine. */
@NullMarked
package blocktree.cluster.raft;

import org.jspecify.annotations.NullMarked;
