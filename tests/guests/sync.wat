;; A guest written by hand from wit/ alone: no toolchain, synchronous functions, nothing but the world's top level.
;;
;;   add: func(left: u32, right: u32) -> u32
;;   greeting: func(image: string) -> result<string, error>    runs `echo hello from wat` in the image
;;   made: func(image: string) -> container                    the container that this leaves
(component
  (import "wharf:pipeline/types@0.1.0" (instance $types
    (type $exec-failure' (record
      (field "args" (list string)) (field "exit-code" s32) (field "reason" string)
      (field "stdout-tail" string) (field "stderr-tail" string) (field "log" string)))
    (export "exec-failure" (type $exec-failure (eq $exec-failure')))
    (type $denial' (record (field "capability" string) (field "module" string) (field "grant" string)))
    (export "denial" (type $denial (eq $denial')))
    (type $other-error' (record (field "code" string) (field "message" string)))
    (export "other-error" (type $other-error (eq $other-error')))
    (type $error' (variant
      (case "exec" $exec-failure) (case "denied" $denial) (case "not-found" string) (case "invalid" string)
      (case "unavailable" string) (case "cancelled") (case "timed-out" string) (case "other" $other-error)))
    (export "error" (type $error (eq $error')))
    (type $platform' (record (field "os" string) (field "architecture" string) (field "cpu" (option string))))
    (export "platform" (type $platform (eq $platform')))))
  (alias export $types "error" (type $error))
  (alias export $types "platform" (type $platform))

  (import "wharf:pipeline/container@0.1.0" (instance $containers
    (export "exec-options" (type $exec-options (sub resource)))
    (export "container" (type $container (sub resource)))
    (export "[method]container.with-exec" (func
      (param "self" (borrow $container)) (param "args" (list string))
      (param "options" (option (borrow $exec-options))) (result (own $container))))))
  (alias export $containers "container" (type $container))

  (import "wharf:pipeline/image@0.1.0" (instance $images
    (alias outer 1 $platform (type $platform'))
    (export "platform" (type $platform (eq $platform')))
    (alias outer 1 $container (type $container'))
    (export "container" (type $container (eq $container')))
    (export "pull" (func
      (param "reference" string) (param "platform" (option $platform)) (result (own $container))))))

  (import "wharf:pipeline/eval-sync@0.1.0" (instance $eval
    (alias outer 1 $error (type $error'))
    (export "error" (type $error (eq $error')))
    (alias outer 1 $container (type $container'))
    (export "container" (type $container (eq $container')))
    (export "stdout" (func
      (param "container" (borrow $container)) (result (result string (error $error)))))))

  ;; Memory apart from the code, as lowered functions need it before the code exists.
  (core module $memory-module
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 4096))
    ;; Hands memory out and never takes it back: an instance lives for one call.
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32) (local $end i32)
      (local.set $at (i32.and
        (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
        (i32.xor (i32.sub (local.get $align) (i32.const 1)) (i32.const -1))))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
        (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16)))))
          (then unreachable))))
      (if (local.get $old-size)
        (then (memory.copy (local.get $at) (local.get $old) (local.get $old-size))))
      (global.set $free (local.get $end))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $pull (canon lower (func $images "pull") (memory $mem) (realloc $realloc)))
  (core func $with-exec
    (canon lower (func $containers "[method]container.with-exec") (memory $mem) (realloc $realloc)))
  (core func $stdout (canon lower (func $eval "stdout") (memory $mem) (realloc $realloc)))
  (core func $drop (canon resource.drop $container))

  (core module $code
    (import "memory" "memory" (memory 1))
    (import "host" "pull" (func $pull
      (param i32 i32) (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "host" "with-exec" (func $with-exec (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "stdout" (func $stdout (param i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    ;; The arguments at 256: three pairs of pointer and length.
    (data (i32.const 0) "echohellofrom wat")
    (data (i32.const 256) "\00\00\00\00\04\00\00\00" "\04\00\00\00\05\00\00\00" "\09\00\00\00\08\00\00\00")

    (func (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1)))

    (func $made (export "made") (param $reference i32) (param $length i32) (result i32)
      (local $base i32) (local $made i32)
      (local.set $base (call $pull (local.get $reference) (local.get $length)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
      (local.set $made
        (call $with-exec (local.get $base) (i32.const 256) (i32.const 3) (i32.const 0) (i32.const 0)))
      (call $drop (local.get $base))
      (local.get $made))

    ;; The result that the host has written at 512 is the result of the function as it stands.
    (func (export "greeting") (param $reference i32) (param $length i32) (result i32)
      (local $made i32)
      (local.set $made (call $made (local.get $reference) (local.get $length)))
      (call $stdout (local.get $made) (i32.const 512))
      (call $drop (local.get $made))
      (i32.const 512)))
  (core instance $main (instantiate $code
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "pull" (func $pull))
      (export "with-exec" (func $with-exec))
      (export "stdout" (func $stdout))
      (export "drop" (func $drop))))))

  (func (export "add") (param "left" u32) (param "right" u32) (result u32)
    (canon lift (core func $main "add")))
  (func (export "greeting") (param "image" string) (result (result string (error $error)))
    (canon lift (core func $main "greeting") (memory $mem) (realloc $realloc)))
  (func (export "made") (param "image" string) (result (own $container))
    (canon lift (core func $main "made") (memory $mem) (realloc $realloc))))
