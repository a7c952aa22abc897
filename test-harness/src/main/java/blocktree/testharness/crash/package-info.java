/** A mixed load whose every acknowledged step is remembered here, outside the node, to be compared with what the node has after it was killed. */
@NullMarked
package blocktree.testharness.crash;

import org.jspecify.annotations.NullMarked;
