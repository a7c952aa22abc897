/** Authenticated messages and streams between principals, and the messages of the control protocol. */
@NullMarked
package blocktree.btmsg;

import org.jspecify.annotations.NullMarked;
