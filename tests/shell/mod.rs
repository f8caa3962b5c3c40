<<<<<<< HEAD
//! Tests against real sockets.
=======
//! Tests against real sockets, files and clocks.
>>>>>>> mesh
