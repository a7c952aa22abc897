/** Random use of one file, each read of which is compared with what a copy in memory says. */
@NullMarked
package blocktree.testharness.exercise;

import org.jspecify.annotations.NullMarked;
