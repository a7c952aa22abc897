/** Clients on the mounts of one tree, what they saw and when, and whether that is what a cluster promises. */
@NullMarked
package blocktree.testharness.history;

import org.jspecify.annotations.NullMarked;
