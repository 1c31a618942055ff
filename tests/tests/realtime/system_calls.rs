//! Counts the system calls of a thread, every one: a seccomp filter turns each into a signal, whose
//! handler counts it and then makes it.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::{io, mem, ptr};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    /// The numbers of the first few, for the message of a test that fails.
    static FIRST: RefCell<[i64; 8]> = const { RefCell::new([-1; 8]) };
}

/// System calls of this thread since [`watch`].
pub fn calls() -> u64 {
    CALLS.get()
}

/// The numbers of the first ones.
pub fn first() -> Vec<i64> {
    FIRST.with_borrow(|first| {
        first
            .iter()
            .copied()
            .filter(|&number| number >= 0)
            .collect()
    })
}

/// Forgets those that were counted.
pub fn forget() {
    CALLS.set(0);
    FIRST.set([-1; 8]);
}

core::arch::global_asm!(
    ".globl famam_make_call",
    "famam_make_call:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "mov r9, [rsp + 8]",
    "syscall",
    ".globl famam_call_made",
    "famam_call_made:",
    "ret",
);

unsafe extern "C" {
    fn famam_make_call(number: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64;
    fn famam_call_made();
}

extern "C" fn on_call(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the interrupted thread's registers.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let register = |name: c_int| registers[name as usize];
    let number = register(libc::REG_RAX);
    let made = CALLS.get();
    CALLS.set(made + 1);
    FIRST.with_borrow_mut(|first| {
        if let Some(place) = first.get_mut(made as usize) {
            *place = number;
        }
    });
    // SAFETY: the very call that the thread was making.
    let result = unsafe {
        famam_make_call(
            number,
            register(libc::REG_RDI),
            register(libc::REG_RSI),
            register(libc::REG_RDX),
            register(libc::REG_R10),
            register(libc::REG_R8),
            register(libc::REG_R9),
        )
    };
    registers[libc::REG_RAX as usize] = result;
}

/// Counts this thread's calls from here to its end.
pub fn watch() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let equal = |k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf,
        k,
    };
    let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32);
    let finish = |what: u32| statement(libc::BPF_RET | libc::BPF_K, what);
    let pointer = mem::offset_of!(libc::seccomp_data, instruction_pointer);
    let made = famam_call_made as *const () as u64;
    let mut filter = [
        // Calls that the handler makes itself, and the return from it, pass.
        load(pointer),
        equal(made as u32, 0, 2),
        load(pointer + 4),
        equal((made >> 32) as u32, 3, 0),
        load(mem::offset_of!(libc::seccomp_data, nr)),
        equal(libc::SYS_rt_sigreturn as u32, 1, 0),
        finish(libc::SECCOMP_RET_TRAP),
        finish(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the handler touches only its thread's own state and makes the call that was asked for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_call;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        if libc::sigaction(libc::SIGSYS, &action, ptr::null_mut()) != 0
            || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
