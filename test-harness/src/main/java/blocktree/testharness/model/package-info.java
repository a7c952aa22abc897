/** The same random operations on a mount and on a plain directory of a local file system: what differs is a bug, or a documented limit. */
@NullMarked
package blocktree.testharness.model;

import org.jspecify.annotations.NullMarked;
