/** One tree on many nodes (docs/cluster.md). */
@NullMarked
package blocktree.cluster;

import org.jspecify.annotations.NullMarked;
